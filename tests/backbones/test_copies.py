"""When fingerprints and features together make two images copies; features made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tlkit.backbones.copies import CLOSE_BITS, CLOSE_COSINE, FAR_COSINE, confirmed_copies
from tlkit.backbones.features import Features
from tlkit.images.duplicates import LIKELY_BITS


def features(vectors: Sequence[Sequence[float]], prints: Sequence[bytes], contents: Sequence[str] = ()) -> Features:
    """Features of readable images with two columns of a stage ahead of the top's."""
    top = np.asarray(vectors, dtype=np.float32)
    stage = np.eye(len(top), 2, dtype=np.float32) * 100  # unlike one another
    return Features(
        matrix=np.hstack([stage, top]),
        rows=tuple(range(len(top))),
        contents=tuple(contents) or tuple(f"{index:064x}" for index in range(len(top))),
        prints=tuple(prints),
        errors={},
        taps=(("stage1", 2), ("top", top.shape[1])),
        reused=0,
    )


def bits(count: int) -> bytes:
    """A fingerprint that many bits from the one without any."""
    return ((1 << count) - 1).to_bytes(16, "big")


def at(cosine: float) -> list[float]:
    """A vector at that cosine to [1, 0], of another length."""
    return [7 * cosine, 7 * float(np.sqrt(1 - cosine**2))]


@pytest.mark.parametrize(
    ("apart", "cosine", "copies"),
    [
        (0, CLOSE_COSINE + 0.01, True),
        (0, CLOSE_COSINE - 0.01, False),
        (CLOSE_BITS, CLOSE_COSINE + 0.01, True),
        (CLOSE_BITS, CLOSE_COSINE - 0.01, False),
        (CLOSE_BITS + 1, FAR_COSINE + 0.01, True),
        (CLOSE_BITS + 1, FAR_COSINE - 0.01, False),
        (LIKELY_BITS, FAR_COSINE + 0.01, True),
        (LIKELY_BITS, FAR_COSINE - 0.01, False),
        (LIKELY_BITS + 1, 1.0, False),
    ],
)
def test_the_farther_the_fingerprints_the_more_the_features_must_agree(apart: int, cosine: float, copies: bool) -> None:
    found = confirmed_copies(features([[1, 0], at(cosine)], [bits(0), bits(apart)]))
    assert found == ([(0, 1)] if copies else [])


def test_the_same_bytes_are_copies_whatever_else() -> None:
    assert confirmed_copies(features([[1, 0], [0, 1]], [b"", bits(90)], ["c", "c"])) == [(0, 1)]


def test_blank_images_are_not_near_copies() -> None:
    assert confirmed_copies(features([[1, 0], [1, 0]], [b"", b""])) == []


def test_features_of_nothing_but_zeros_leave_it_to_the_fingerprints() -> None:
    assert confirmed_copies(features([[0, 0], [1, 0]], [bits(0), bits(3)])) == [(0, 1)]
    assert confirmed_copies(features([[0, 0], [0, 0]], [bits(0), bits(LIKELY_BITS + 1)])) == []


def test_pairs_are_of_rows_where_some_images_cannot_be_read() -> None:
    whole = features([[1, 0], [0, 1], [1, 0]], [bits(0), bits(60), bits(1)])
    gappy = Features(
        matrix=whole.matrix,
        rows=(1, 2, 4),
        contents=("", "a", "b", "", "c"),
        prints=(b"", bits(0), bits(60), b"", bits(1)),
        errors={0: "truncated", 3: "truncated"},
        taps=whole.taps,
        reused=0,
    )
    assert confirmed_copies(gappy) == [(0, 2)]


def test_no_images_no_copies() -> None:
    assert confirmed_copies(features(np.zeros((0, 2)), [])) == []
