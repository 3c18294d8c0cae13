"""Find copies of images by content, perceptual hash and frozen features together."""

from __future__ import annotations

import numpy as np

from tlkit.backbones.extractor import TOP, rows_of
from tlkit.backbones.features import Features
from tlkit.images.duplicates import Pair, copy_pairs

# The features of a small image and its copy at half the size can have a cosine of only 0.52, so close fingerprints need
# little agreement. Fingerprints 5 to 8 bits apart may be other images of the same scene. benchmarks/near_duplicates.py
# has the measurements.
CLOSE_BITS = 4
CLOSE_COSINE, FAR_COSINE = 0.5, 0.9


def confirmed_copies(features: Features) -> list[Pair]:
    """Return pairs of rows of ``features.matrix`` that are copies of one image, comparing the top features."""
    matrix = rows_of(features.matrix, features.taps, [TOP])

    def agree(one: int, two: int, apart: int) -> bool:
        first, second = matrix[one], matrix[two]
        scale = float(np.linalg.norm(first) * np.linalg.norm(second))
        cosine = float(first @ second) / scale if scale else 1.0
        return cosine >= (CLOSE_COSINE if apart <= CLOSE_BITS else FAR_COSINE)

    contents = [features.contents[index] for index in features.rows]
    prints = [features.prints[index] for index in features.rows]
    return copy_pairs(contents, prints, agree)
