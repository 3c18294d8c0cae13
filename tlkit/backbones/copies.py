"""Which images are copies of one another, by content, perceptual hash and frozen features together."""

from __future__ import annotations

import numpy as np

from tlkit.backbones.extractor import TOP, columns_of
from tlkit.backbones.features import Features
from tlkit.images.duplicates import Pair, copy_pairs

# A copy at half the size can agree as little as 0.52 in features of small images, so close fingerprints need little
# agreement; at 5 to 8 bits apart, other images of the same scene come in. benchmarks/near_duplicates.py has figures.
CLOSE_BITS = 4
CLOSE_COSINE, FAR_COSINE = 0.5, 0.9


def confirmed_copies(features: Features) -> list[Pair]:
    """Pairs of rows of ``features.matrix`` that are copies of one image; compares the top features in it."""
    matrix = features.matrix[:, columns_of(features.taps, [TOP])]
    norms = np.linalg.norm(matrix, axis=1)

    def agree(one: int, two: int, apart: int) -> bool:
        scale = float(norms[one] * norms[two])
        cosine = float(matrix[one] @ matrix[two]) / scale if scale else 1.0
        return cosine >= (CLOSE_COSINE if apart <= CLOSE_BITS else FAR_COSINE)

    contents = [features.contents[index] for index in features.rows]
    prints = [features.prints[index] for index in features.rows]
    return copy_pairs(contents, prints, agree)
