"""Images whose label looks wrong: cross-validated probes on the frozen features disagree with it, confidently.

After confident learning (Northcutt, Jiang, Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels"): an image is suspect if a probe that has not seen it gives another class at least the confidence it gives, on
average, to that class's own images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlkit.linear.folds import make_folds
from tlkit.linear.head import Matrix, cross_validate, standardise
from tlkit.progress import Progress

HIGHEST_OWN = 0.1  # probability of its own label above which an image is never suspect
CONFIDENT = 0.9  # an answer this sure is enough, even where a bundle is surer still of what it was trained on
SHARE, MIN_NAMED = 200, 15  # at most one in 200 images is named, but 15 in any case: people look at a short list
MIN_PROBABILITY = 1e-12  # a sure network may say exactly 0, whose logarithm no JSON can hold


@dataclass(frozen=True)
class LabelIssue:
    """An image whose label looks wrong.

    Attributes:
        index: Which image.
        label: Its class index.
        looks_like: The class index it resembles.
        margin: Log probability of its label less that of the other class; the lower, the more suspect.
    """

    index: int
    label: int
    looks_like: int
    margin: float


def probe_probabilities(
    features: Matrix,
    labels: Sequence[int],
    groups: Sequence[int],
    seed: int,
    *,
    blocks: Sequence[int] = (),
    progress: Progress | None = None,
) -> Matrix | None:
    """What probes say of images they have not seen, float32 [n, classes present]; None if a class is too small.

    Args:
        features: Non-negative or signed activations, float32 [n, d]; their signed square root is used, which tames
            the few large ones.
        labels: Class index of each row.
        groups: Copies of one image share a group, so that no probe has seen a copy either.
        seed: Of the folds.
        blocks: Widths of the columns' blocks, as for `tlkit.linear.head.standardise`.
        progress: Told about every solution.
    """
    target = np.asarray(labels, dtype=np.int64)
    folds = make_folds(target, groups, seed)
    if sum(len(test) for _, test in folds) < len(target):
        return None
    tamed = np.asarray(np.sign(features) * np.sqrt(np.abs(features)), dtype=np.float32)
    scaled, _, _ = standardise(tamed, blocks)
    return cross_validate(scaled, target, folds, progress=progress)[1]


def find_suspects(probabilities: NDArray[np.float32], labels: Sequence[int]) -> list[LabelIssue]:
    """The most suspect images, worst first.

    Args:
        probabilities: float32 [n, classes], column i belongs to class index i.
        labels: Class index of each row.
    """
    target = np.asarray(labels, dtype=np.int64)
    rows = np.arange(len(target))
    own = probabilities[rows, target]
    usual = np.full(probabilities.shape[1], np.inf)  # a class without images attracts none
    for k in np.unique(target):
        usual[k] = min(CONFIDENT, float(probabilities[target == k, k].mean()))
    answers = probabilities.argmax(axis=1)
    margin = np.log(np.maximum(own, MIN_PROBABILITY)) - np.log(probabilities.max(axis=1))
    doubtful = (answers != target) & (own <= HIGHEST_OWN) & (probabilities[rows, answers] >= usual[answers])
    order = [int(row) for row in np.argsort(margin, kind="stable") if doubtful[row]]
    most = max(MIN_NAMED, len(target) // SHARE)
    return [LabelIssue(row, int(target[row]), int(answers[row]), float(margin[row])) for row in order[:most]]
