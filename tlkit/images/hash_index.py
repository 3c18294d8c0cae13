"""Find close hashes among many without comparing all: multi-index hashing.

A hash is cut into two parts more than may have a differing bit. At least two parts of close hashes are then equal, so
that only hashes which share two parts are compared (Norouzi, Punjani & Fleet 2012, "Fast Search in Hamming Space with
Multi-Index Hashing", with pairs of parts as keys). Nothing within the distance is missed. Time grows with the number of
hashes, not with its square, as long as few unlike hashes share two parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

BITS = 128
TOGETHER = 1 << 20  # pairs compared at a time

Words = NDArray[np.uint64]
Rows = NDArray[np.int64]


def pairs_by_parts(words: Words, bits: int) -> Iterator[tuple[Rows, Rows, NDArray[np.uint8]]]:
    """Yield (rows, rows, differing bits) of pairs of hashes that differ in at most ``bits``, each pair once.

    Args:
        words: Hashes of `BITS` bits, uint64 [n, 2].
        bits: Most bits that may differ, at most 30.
    """
    parts = _parts(words, bits + 2)
    for first, second in combinations(range(len(parts)), 2):
        key = (parts[first].astype(np.uint64) << np.uint64(32)) | parts[second]
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        for one, two in _equal(ordered):
            left, right = order[one], order[two]
            apart = np.bitwise_count(words[left] ^ words[right]).sum(axis=1, dtype=np.uint8)
            near = apart <= bits
            left, right, apart = left[near], right[near], apart[near]
            # a pair that shares more parts is yielded for the first two only
            new = _first_shared(parts, left, right) == (first, second)
            new = new.all(axis=1)
            if new.any():
                yield left[new], right[new], apart[new]


def _parts(words: Words, count: int) -> list[NDArray[np.uint32]]:
    """Cut hashes into parts of nearly the same width, each uint32 [n]."""
    bits = np.unpackbits(words.view(np.uint8).reshape(len(words), -1), axis=1)
    found = []
    # every count-th bit, not neighbours: these are often equal in photos, and would make parts that many share
    for start in range(count):
        part = np.zeros(len(words), dtype=np.uint32)
        for column in range(start, BITS, count):
            part = (part << np.uint32(1)) | bits[:, column]
        found.append(part)
    return found


def _equal(ordered: NDArray[np.uint64]) -> Iterator[tuple[Rows, Rows]]:
    """Yield the places of all pairs of equal values in an ascending array, at most `TOGETHER` pairs at a time."""
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    ends = np.append(starts[1:], len(ordered))
    end = np.repeat(ends, ends - starts)
    left = np.flatnonzero(end - np.arange(len(ordered)) > 1)
    step = 1
    while len(left):
        for start in range(0, len(left), TOGETHER):
            one = left[start : start + TOGETHER]
            yield one, one + step
        step += 1
        left = left[left + step < end[left]]


def _first_shared(parts: list[NDArray[np.uint32]], left: Rows, right: Rows) -> NDArray[np.int64]:
    """Return the numbers of the first two parts that both rows share, int64 [pairs, 2]."""
    shared = np.stack([part[left] == part[right] for part in parts], axis=1)
    return np.argsort(~shared, axis=1, kind="stable")[:, :2]
