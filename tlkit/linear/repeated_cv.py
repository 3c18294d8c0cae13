"""What a frozen head is worth where no image can be spared for a test: repeated cross-validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkit.linear.folds import make_folds
from tlkit.linear.head import Matrix, cross_validate, standardise
from tlkit.progress import Progress

REPEATS = 3


def repeated_accuracy(
    features: Matrix,
    labels: Sequence[int],
    c: float,
    *,
    groups: Sequence[int] | None = None,
    balanced: bool = False,
    blocks: Sequence[int] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> float | None:
    """Mean accuracy, 0..1, of heads on images they have not seen, over `REPEATS` draws of the folds.

    Kohavi 1995, "A Study of Cross-Validation and Bootstrap for Accuracy Estimation and Model Selection". The strength
    ``c`` was chosen on the same images, which flatters a little.

    Args:
        features: float32 [n, d].
        labels: Class index of each row.
        c: Inverse L2 strength.
        groups: Rows of one group are never on both sides of a fold.
        balanced: Weigh each class by the inverse of its share.
        blocks: Widths of the columns' blocks.
        seed: Of the folds.
        progress: Told about every solution.

    Returns:
        None where a class is too small to be divided into folds.
    """
    target = np.asarray(labels, dtype=np.int64)
    scaled, _, _ = standardise(features, blocks)
    found = []
    for number in range(REPEATS):
        folds = make_folds(target, groups, seed + 1 + number)
        tested = np.concatenate([test for _, test in folds]) if folds else np.zeros(0, np.int64)
        if len(tested) < len(target):
            return None
        _, said = cross_validate(scaled, target, folds, grid=[c], balanced=balanced, progress=progress)
        found.append(float((np.unique(target)[said.argmax(axis=1)] == target).mean()))
    return float(np.mean(found))
