"""Find images whose label is probably wrong: cross-validated probes on frozen features confidently disagree with it.

Based on confident learning (Northcutt, Jiang, Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels"). A label is suspect if a probe that has not seen the image is at least as confident of another class as it is,
on average, for that class's own images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlkit.linear.folds import Fold, make_folds
from tlkit.linear.head import FALLBACK, Matrix, best_grid_point, cross_validate, solve_head
from tlkit.linear.scaling import standardise
from tlkit.progress import Progress
from tlkit.store.disk_matrix import DiskMatrix, Vectors

HIGHEST_OWN = 0.1  # an image with a higher probability of its own label is never suspect
CONFIDENT = 0.9  # this much confidence is always enough: a bundle may be even more confident on its training images
SHARE, MIN_NAMED = 200, 15  # list at most one in 200 images, but up to 15 in any case: people read short lists
MIN_PROBABILITY = 1e-12  # a confident network may return 0, whose logarithm JSON cannot represent


@dataclass(frozen=True)
class LabelIssue:
    """An image whose label is probably wrong.

    Attributes:
        index: Index of the image.
        label: Its labelled class index.
        looks_like: The predicted class index.
        margin: Log probability of the label minus that of the predicted class; the lower, the more suspect.
    """

    index: int
    label: int
    looks_like: int
    margin: float


def probe_probabilities(
    features: Vectors,
    labels: Sequence[int],
    groups: Sequence[int],
    seed: int,
    *,
    blocks: Sequence[int] = (),
    progress: Progress | None = None,
) -> Matrix | None:
    """Return out-of-fold probabilities of probes, float32 [n, classes present], or None if nothing can be tested.

    Rows that no probe could be tested on are NaN: those of a class that is a single group, which every probe needs.

    Args:
        features: Activations, float32 [n, d]. Their signed square root is used, which dampens a few large ones.
        labels: Class index of each row.
        groups: Group of each row; copies of one image share a group, so that no probe has seen a copy either.
        seed: Random seed of the folds.
        blocks: Widths of the column blocks, as for `tlkit.linear.scaling.standardise`.
        progress: Progress reporter.
    """
    target = np.asarray(labels, dtype=np.int64)
    folds = make_folds(target, groups, seed)
    if not folds:
        return None
    if isinstance(features, DiskMatrix):
        found = _from_disk(features.changed(_damped), target, folds, groups, seed, blocks, progress)
    else:
        scaled, _, _ = standardise(_damped(features), blocks)
        found = cross_validate(scaled, target, folds, progress=progress)[1]
    untested = np.ones(len(target), dtype=bool)
    untested[np.concatenate([test for _, test in folds])] = False
    found[untested] = np.nan
    return found


def _from_disk(
    features: DiskMatrix,
    target: NDArray[np.int64],
    folds: Sequence[Fold],
    groups: Sequence[int],
    seed: int,
    blocks: Sequence[int],
    progress: Progress | None,
) -> Matrix:
    """Probabilities of probes that are solved in passes over the features."""
    labels, classes = target.tolist(), int(target.max()) + 1
    best = best_grid_point(features, labels, groups=groups, blocks=blocks, seed=seed, progress=progress)
    found = np.zeros((len(target), classes), dtype=np.float32)
    for train, test in folds:
        probe = solve_head(
            features.part(train),
            target[train].tolist(),
            classes,
            blocks=blocks,
            seed=seed,
            c=FALLBACK if best is None else best.c,
            progress=progress,
        )
        found[test] = probe.probabilities(features.part(test))
    return found


def _damped(features: Matrix) -> Matrix:
    return np.asarray(np.sign(features) * np.sqrt(np.abs(features)), dtype=np.float32)


def find_label_issues(probabilities: NDArray[np.float32], labels: Sequence[int]) -> list[LabelIssue]:
    """Find the images whose labels are probably wrong, worst first.

    Args:
        probabilities: float32 [n, classes], column i is class index i; a row that nothing is known of is NaN.
        labels: Class index of each row.
    """
    every = np.asarray(labels, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    probabilities, target = probabilities[known], every[known]
    if not len(known):
        return []
    rows = np.arange(len(target))
    own = probabilities[rows, target]
    usual = np.full(probabilities.shape[1], np.inf)  # a class without known images is never suggested
    for k in np.unique(target):
        usual[k] = min(CONFIDENT, float(probabilities[target == k, k].mean()))
    answers = probabilities.argmax(axis=1)
    margin = np.log(np.maximum(own, MIN_PROBABILITY)) - np.log(probabilities.max(axis=1))
    doubtful = (answers != target) & (own <= HIGHEST_OWN) & (probabilities[rows, answers] >= usual[answers])
    order = [int(row) for row in np.argsort(margin, kind="stable") if doubtful[row]]
    limit = max(MIN_NAMED, len(target) // SHARE)
    return [
        LabelIssue(int(known[row]), int(target[row]), int(answers[row]), float(margin[row])) for row in order[:limit]
    ]
