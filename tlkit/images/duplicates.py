"""Copies of images: exact ones by content hash, near ones by perceptual hash.

The perceptual hash is the difference hash (dHash, Krawetz 2013), along rows and along columns: 128 bits, the same as
those of the ImageHash library. Re-encoded and resized copies differ in few of them; ``benchmarks/near_duplicates.py``
has the figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FINGERPRINT_BYTES = 16
SURE_BITS = 6  # at most this far apart: copies
LIKELY_BITS = 8  # at most this far apart: copies if the frozen features agree
HASH = 8  # bits a row and a column
GRID = 32  # pixels a side that the hash is taken from
PLAIN = 64  # an image with a wider range of grey is never blank
BLANK = 3.0  # standard deviation, of 255, below which an image shows nothing
_BLOCK = 128  # rows compared at a time: what is in between stays in the processor's cache

Pair = tuple[int, int]


def fingerprint(pixels: NDArray[np.uint8]) -> bytes:
    """Perceptual hash of an image, 16 bytes; empty for a blank one, which would look like any other blank one.

    Args:
        pixels: uint8 [height, width, 3], RGB, of any size.
    """
    height, width = pixels.shape[:2]
    image = Image.frombuffer("RGB", (width, height), np.ascontiguousarray(pixels), "raw", "RGB", 0, 1)
    # one small size first, whatever the image's own; a plain average (box filter) would shift edges by parts of a
    # pixel and double the bits that copies are apart
    grey = image.convert("L").resize((GRID, GRID), Image.Resampling.BILINEAR)
    darkest, lightest = np.asarray(grey.getextrema())
    # cheap looks first; grey alone misses images whose colours are equally bright
    if lightest - darkest < PLAIN and np.asarray(image).std(axis=(0, 1)).max() < BLANK:
        return b""
    # LANCZOS, and grey values as bytes: any other way gives other bits than the fingerprints already stored
    rows = np.asarray(grey.resize((HASH + 1, HASH), Image.Resampling.LANCZOS))
    columns = np.asarray(grey.resize((HASH, HASH + 1), Image.Resampling.LANCZOS))
    bits = np.stack([rows[:, 1:] > rows[:, :-1], columns[1:] > columns[:-1]])
    return np.packbits(bits).tobytes()


def exact_copies(contents: Sequence[str]) -> list[list[int]]:
    """Groups of indices with the same content hash, two or more each; an empty hash is never a copy."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, content in enumerate(contents):
        if content:
            groups[content].append(index)
    return [group for group in groups.values() if len(group) > 1]


def near_pairs(prints: Sequence[bytes], bits: int = SURE_BITS) -> Iterator[tuple[int, int, int]]:
    """(i, j, bits apart), i < j, of all fingerprints at most ``bits`` apart; empty ones never are.

    Every pair is compared unless the counts of set bits already differ by more; memory stays small.
    """
    rows = np.array([index for index, each in enumerate(prints) if len(each) == FINGERPRINT_BYTES], dtype=np.int64)
    if len(rows) < 2:
        return
    words = np.frombuffer(b"".join(prints[index] for index in rows), dtype=np.uint64).reshape(len(rows), 2)
    counts = np.bitwise_count(words).sum(axis=1).astype(np.int64)
    order = np.argsort(counts, kind="stable")
    rows, words, counts = rows[order], words[order], counts[order]
    for start in range(0, len(rows), _BLOCK):
        block = words[start : start + _BLOCK]
        stop = int(np.searchsorted(counts, counts[min(start + _BLOCK, len(rows)) - 1] + bits, side="right"))
        other = words[start:stop]
        # the second half of the bits matters only for the few pairs whose first half agrees
        half = np.bitwise_count(block[:, 0, None] ^ other[None, :, 0])
        one, two = np.nonzero(half <= bits)
        one, two = one[one < two], two[one < two]
        apart = half[one, two] + np.bitwise_count(block[one, 1] ^ other[two, 1])
        near = apart <= bits
        ends = np.sort(np.stack([rows[start + one[near]], rows[start + two[near]]]), axis=0)
        yield from zip(*ends.tolist(), apart[near].tolist(), strict=True)


def group_pairs(pairs: Sequence[Pair], count: int) -> list[int]:
    """A group number for each of ``count`` items: those joined by pairs, however indirectly, share one.

    Union by the smaller index; a library's is slow to import, which a quick check would feel.
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


def groups_of(numbers: Sequence[int]) -> list[list[int]]:
    """The groups with two members or more, from the group number of each item."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(numbers):
        groups[number].append(index)
    return [group for group in groups.values() if len(group) > 1]


def copy_pairs(
    contents: Sequence[str], prints: Sequence[bytes], confirm: Callable[[int, int, int], bool] | None = None
) -> list[Pair]:
    """All pairs that are copies of one image.

    Args:
        contents: Content hash of each image; "" where it could not be read.
        prints: Fingerprint of each image; empty where there is none.
        confirm: Given two indices and the bits they are apart, whether the features agree. With it, fingerprints
            up to `LIKELY_BITS` apart are considered and every pair must be confirmed; without, those up to
            `SURE_BITS` apart are taken.
    """
    exact = [(group[0], other) for group in exact_copies(contents) for other in group[1:]]
    later = {other for _, other in exact}  # of exact copies only the first is compared
    alone = [b"" if index in later else each for index, each in enumerate(prints)]
    near = near_pairs(alone, SURE_BITS if confirm is None else LIKELY_BITS)
    return exact + [(one, two) for one, two, apart in near if confirm is None or confirm(one, two, apart)]
