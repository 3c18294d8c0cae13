"""Repeated cross-validation: estimates a frozen head's accuracy if there are too few images for a test set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.linear.folds import make_folds
from tlkit.linear.head import Matrix, cross_validate
from tlkit.linear.scaling import standardise
from tlkit.progress import Progress

REPEATS = 3


def repeated_right(
    features: Matrix,
    labels: Sequence[int],
    c: float,
    *,
    groups: Sequence[int] | None = None,
    balanced: bool = False,
    blocks: Sequence[int] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.float64] | None:
    """Return how often each row is predicted right in cross-validation, over `REPEATS` random sets of folds.

    Kohavi 1995, "A Study of Cross-Validation and Bootstrap for Accuracy Estimation and Model Selection". The L2
    strength was chosen on the same images, so the result is slightly optimistic.

    Args:
        features: float32 [n, d].
        labels: Class index of each row.
        c: Inverse L2 strength.
        groups: Group of each row; a group is never on both sides of a fold.
        balanced: Weight classes by inverse frequency.
        blocks: Widths of the column blocks.
        seed: Random seed of the folds.
        progress: Progress reporter.

    Returns:
        The share of each row, float64 [n], 0..1, or None if a class is too small for cross-validation.
    """
    target = np.asarray(labels, dtype=np.int64)
    scaled, _, _ = standardise(features, blocks)
    found = []
    for number in range(REPEATS):
        folds = make_folds(target, groups, seed + 1 + number)
        tested = np.concatenate([test for _, test in folds]) if folds else np.zeros(0, np.int64)
        if len(tested) < len(target):
            return None
        _, probabilities = cross_validate(scaled, target, folds, grid=[c], balanced=balanced, progress=progress)
        found.append(np.unique(target)[probabilities.argmax(axis=1)] == target)
    return np.asarray(np.mean(found, axis=0), dtype=np.float64)


def repeated_accuracy(features: Matrix, labels: Sequence[int], c: float, **options: Any) -> float | None:
    """Return the cross-validated accuracy, 0..1: the mean of `repeated_right`, which takes the same arguments."""
    right = repeated_right(features, labels, c, **options)
    return None if right is None else float(right.mean())
