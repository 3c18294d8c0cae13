"""Close hashes among many: the same pairs as by comparing all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.images import duplicates, hash_index
from tlkit.images.duplicates import near_pairs
from tlkit.images.hash_index import pairs_by_parts


def hashes(count: int, seed: int, differing: int) -> np.ndarray:
    """Random hashes, uint8 [count, 16]; half are copies of others with some bits changed."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    for row in range(count // 2, count):
        found[row] = found[rng.integers(0, row)]
        for bit in rng.choice(128, rng.integers(0, differing + 1), replace=False):
            found[row, bit // 8] ^= 128 >> (bit % 8)
    return found


@given(st.integers(2, 80), st.integers(0, 9999), st.integers(0, 12), st.integers(0, 10))
@settings(max_examples=40, deadline=None)
def test_no_pair_is_missed_and_none_comes_twice(count: int, seed: int, differing: int, bits: int) -> None:
    made = hashes(count, seed, differing)
    words = np.ascontiguousarray(made).view(np.uint64)
    found = [
        (*sorted(pair), apart)
        for ones, twos, aparts in pairs_by_parts(words, bits)
        for *pair, apart in zip(ones.tolist(), twos.tolist(), aparts.tolist(), strict=True)
    ]
    full = np.bitwise_count(words[:, None] ^ words[None]).sum(axis=2)
    expected = [(i, j, int(full[i, j])) for i in range(count) for j in range(i + 1, count) if full[i, j] <= bits]
    assert sorted(found) == expected


def test_many_and_few_fingerprints_give_the_same_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = [b"", *map(bytes, hashes(400, 1, 9)), b"", b""]
    few = sorted(near_pairs(prints, 8))
    monkeypatch.setattr(duplicates, "MANY", 10)
    monkeypatch.setattr(hash_index, "TOGETHER", 7)
    assert sorted(near_pairs(prints, 8)) == few
    assert len(few) > 100
