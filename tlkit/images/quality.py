"""How an image looks at the size that networks see: dark, overexposed, blurry, or with little in it.

Everything is measured on the small grey image that the perceptual hash is computed from, so that it costs next to
nothing, and a large photo and its small copy get the same answer. ``benchmarks/check_quality.py`` says what is found,
and how often a good image is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

REACH: Final = 4  # pixels over which a blurred edge goes on rising
DARK: Final = 48  # grey value below which 99% of a dark image lies
BRIGHT_LOW: Final = 175  # grey value below which there is only 1% of an overexposed image,
BRIGHT_MIDDLE: Final = 245  # half of which is above this
FLAT: Final = 16  # levels of grey between the darkest and lightest 1% of an image with hardly any contrast
SOFT: Final = 0.44  # sharpness below which an image may be blurry
SOFTER: Final = 0.77  # and by this factor below the median: where all images are soft, none stands out

DARK_KIND, BRIGHT_KIND, FLAT_KIND, SOFT_KIND = "dark", "overexposed", "low_information", "blurry"
KINDS: Final = (DARK_KIND, BRIGHT_KIND, FLAT_KIND, SOFT_KIND)


class Quality(NamedTuple):
    """What is measured of one image.

    Attributes:
        low: Grey value, 0..255, below which 1% of the image lies.
        middle: Median grey value.
        high: Grey value above which 1% of the image lies.
        sharpness: Steepness of its edges, from about 1 / `REACH` (blurred) to 1 (steps from one pixel to the next).
    """

    low: int
    middle: int
    high: int
    sharpness: float


def qualities_of(images: Sequence[bytes]) -> list[Quality]:
    """Measure images, many at a time, since numpy takes as long to begin as to measure one.

    Sharpness compares, in every row and column, the largest difference of neighbours with the largest difference of
    pixels `REACH` apart. It depends on edges alone, not on contrast, nor on how much of the image is plain.

    Args:
        images: Grey images of one size, square, from `tlkit.images.duplicates.fingerprint_and_grey`.
    """
    count, size = len(images), len(images[0])
    side = math.isqrt(size)
    greys = np.frombuffer(b"".join(images), np.uint8).reshape(count, side, side)
    places = greys.reshape(count, size) + 256 * np.arange(count)[:, None]
    below = np.bincount(places.ravel(), minlength=256 * count).reshape(count, 256).cumsum(axis=1)
    shares = (size // 100, size // 2, size - 1 - size // 100)  # sorting the pixels takes many times as long
    low, middle, high = ((below <= share).sum(axis=1).tolist() for share in shares)
    columns = np.ascontiguousarray(greys.transpose(2, 1, 0))  # the images last, so that numpy's loops are long
    near, far = (_steepest(columns, apart) for apart in (1, REACH))
    sharpness = (near / np.maximum(far, 1)).round(3).tolist()
    return [Quality(*its) for its in zip(low, middle, high, sharpness, strict=True)]


def _steepest(greys: NDArray[np.uint8], apart: int) -> NDArray[np.int64]:
    """Return the largest differences of pixels so far apart, summed over the rows and columns of each image."""
    along = _differences(greys[apart:], greys[:-apart]).max(axis=0)
    down = _differences(greys[:, apart:], greys[:, :-apart]).max(axis=1)
    return np.asarray(along.sum(axis=0, dtype=np.int64) + down.sum(axis=0, dtype=np.int64))


def _differences(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.maximum(one, other) - np.minimum(one, other)


def faults_of(images: Sequence[Quality | None]) -> list[str | None]:
    """Return what is wrong with each image: one of `KINDS`, or None.

    Args:
        images: What was measured; None: an image that cannot be read, or is blank.
    """
    kinds = [None if each is None else _kind(each) for each in images]
    sharp = [each.sharpness for each, kind in zip(images, kinds, strict=True) if each is not None and kind is None]
    if not sharp:
        return kinds
    limit = min(SOFT, SOFTER * median(sharp))
    return [
        SOFT_KIND if kind is None and each is not None and each.sharpness < limit else kind
        for each, kind in zip(images, kinds, strict=True)
    ]


def _kind(image: Quality) -> str | None:
    if image.high < DARK:
        return DARK_KIND
    if image.low >= BRIGHT_LOW and image.middle >= BRIGHT_MIDDLE:
        return BRIGHT_KIND
    return FLAT_KIND if image.high - image.low < FLAT else None
