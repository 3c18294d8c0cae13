"""Find copies of images: exact copies by content hash, near copies by perceptual hash.

The perceptual hash is the difference hash (dHash, Krawetz 2013) along rows and columns: 128 bits, identical to those of
the ImageHash library. Re-encoded and resized copies differ in few bits; ``benchmarks/near_duplicates.py`` measures how
few.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlkit.images.hash_index import pairs_by_parts

FINGERPRINT_BYTES = 16
SURE_BITS = 6  # hashes that differ in at most this many bits: copies
LIKELY_BITS = 8  # hashes that differ in at most this many bits: copies if the frozen features agree
HASH = 8  # bits per row and per column
GRID = 32  # side, in pixels, of the image that the hash is computed from
PLAIN = 64  # an image with a wider range of grey is never blank
BLANK = 3.0  # standard deviation, on the scale 0..255, below which an image is blank
MANY = 20_000  # fingerprints; more are not all compared with each other
_BLOCK = 128  # rows compared at a time, so that intermediate results stay in the processor's cache

Pair = tuple[int, int]


def fingerprint(pixels: NDArray[np.uint8]) -> bytes:
    """Return the perceptual hash of an image alone; see `fingerprint_and_grey`."""
    return fingerprint_and_grey(pixels)[0]


def fingerprint_and_grey(pixels: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """Return the perceptual hash of an image, and the small grey image that it is computed from.

    Args:
        pixels: uint8 [height, width, 3], RGB, of any size.

    Returns:
        The hash, 16 bytes; empty for a blank image, since all blank images look alike. Grey values, GRID x GRID bytes.
    """
    height, width = pixels.shape[:2]
    image = Image.frombuffer("RGB", (width, height), np.ascontiguousarray(pixels), "raw", "RGB", 0, 1)
    # first to one small size for all images; a plain average (box filter) would shift edges by fractions of a pixel
    # and double the number of bits in which copies differ
    grey = image.convert("L").resize((GRID, GRID), Image.Resampling.BILINEAR)
    darkest, lightest = cast("tuple[int, int]", grey.getextrema())
    # the cheap test first; grey alone would miss images with colours of equal brightness
    if lightest - darkest < PLAIN and np.asarray(image).std(axis=(0, 1)).max() < BLANK:
        return b"", grey.tobytes()
    # LANCZOS on grey values as bytes: anything else would not match the fingerprints already stored
    rows = _values(grey.resize((HASH + 1, HASH), Image.Resampling.LANCZOS))
    columns = _values(grey.resize((HASH, HASH + 1), Image.Resampling.LANCZOS))
    bits = np.stack([rows[:, 1:] > rows[:, :-1], columns[1:] > columns[:-1]])
    return np.packbits(bits).tobytes(), grey.tobytes()


def _values(grey: Image.Image) -> NDArray[np.uint8]:
    """Return the values of a grey image, in half the time that ``np.asarray`` takes."""
    return np.frombuffer(grey.tobytes(), np.uint8).reshape(grey.height, grey.width)


def exact_copies(contents: Sequence[str]) -> list[list[int]]:
    """Return the groups of two or more indices with the same content hash; empty hashes are ignored."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, content in enumerate(contents):
        if content:
            groups[content].append(index)
    return [group for group in groups.values() if len(group) > 1]


def near_pairs(prints: Sequence[bytes], bits: int = SURE_BITS) -> Iterator[tuple[int, int, int]]:
    """Yield (i, j, differing bits), i < j, for all fingerprints that differ in at most ``bits``.

    Empty fingerprints are ignored. Few are all compared, except pairs where the numbers of set bits already differ by
    more; many are found by parts that they share. The pairs are the same. Memory use stays small.
    """
    rows = np.array([index for index, each in enumerate(prints) if len(each) == FINGERPRINT_BYTES], dtype=np.int64)
    if len(rows) < 2:
        return
    words = np.frombuffer(b"".join(prints[index] for index in rows), dtype=np.uint64).reshape(len(rows), 2)
    if len(rows) > MANY:
        for one, two, apart in pairs_by_parts(words, bits):
            ends = np.sort(np.stack([rows[one], rows[two]]), axis=0)
            yield from zip(*ends.tolist(), apart.tolist(), strict=True)
        return
    counts = np.bitwise_count(words).sum(axis=1).astype(np.int64)
    order = np.argsort(counts, kind="stable")
    rows, words, counts = rows[order], words[order], counts[order]
    for start in range(0, len(rows), _BLOCK):
        block = words[start : start + _BLOCK]
        stop = int(np.searchsorted(counts, counts[min(start + _BLOCK, len(rows)) - 1] + bits, side="right"))
        other = words[start:stop]
        # compare the second half of the bits only for the few pairs that agree in the first half
        half = np.bitwise_count(block[:, 0, None] ^ other[None, :, 0])
        one, two = np.nonzero(half <= bits)
        one, two = one[one < two], two[one < two]
        apart = half[one, two] + np.bitwise_count(block[one, 1] ^ other[two, 1])
        near = apart <= bits
        ends = np.sort(np.stack([rows[start + one[near]], rows[start + two[near]]]), axis=0)
        yield from zip(*ends.tolist(), apart[near].tolist(), strict=True)


def group_pairs(pairs: Sequence[Pair], count: int) -> list[int]:
    """Return a group number for each of ``count`` items; items connected by pairs, even indirectly, share one.

    A union-find with the smaller index as the root. Libraries that have one are slow to import.
    """
    above = list(range(count))

    def top(item: int) -> int:
        while above[item] != item:
            above[item] = above[above[item]]
            item = above[item]
        return item

    for one, two in pairs:
        low, high = sorted((top(one), top(two)))
        above[high] = low
    return [top(item) for item in range(count)]


def pairs_within(pairs: Sequence[Pair], kept: Sequence[int]) -> tuple[Pair, ...]:
    """Return the pairs of which both items are kept, as places in ``kept``."""
    place = {item: number for number, item in enumerate(kept)}
    return tuple((place[one], place[two]) for one, two in pairs if one in place and two in place)


def groups_of(numbers: Sequence[int]) -> list[list[int]]:
    """Return the groups with two or more members, from the group number of each item."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(numbers):
        groups[number].append(index)
    return [group for group in groups.values() if len(group) > 1]


def copy_pairs(
    contents: Sequence[str], prints: Sequence[bytes], confirm: Callable[[int, int, int], bool] | None = None
) -> list[Pair]:
    """Return all pairs that are copies of one image.

    Args:
        contents: Content hash of each image; "" if it could not be read.
        prints: Fingerprint of each image; empty if there is none.
        confirm: Called with two indices and the number of bits in which their fingerprints differ; returns whether the
            features agree. With it, pairs that differ in up to `LIKELY_BITS` are considered and each must be
            confirmed; without it, pairs that differ in up to `SURE_BITS` are copies.
    """
    exact = [(group[0], other) for group in exact_copies(contents) for other in group[1:]]
    later = {other for _, other in exact}  # only the first of several exact copies is compared
    alone = [b"" if index in later else each for index, each in enumerate(prints)]
    near = near_pairs(alone, SURE_BITS if confirm is None else LIKELY_BITS)
    return exact + [(one, two) for one, two, apart in near if confirm is None or confirm(one, two, apart)]
