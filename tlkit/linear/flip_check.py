"""Check whether mirroring an image changes its class: measured on the data, never assumed.

A mirrored letter, digit, turn sign or left hand is a different thing. Cross-validated probes classify each image both
plain and mirrored. If their accuracy is lower on the mirrored images, training does not flip images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlkit.linear.folds import make_folds
from tlkit.linear.head import Matrix
from tlkit.linear.ridge import ridge_scores
from tlkit.linear.scaling import standardise
from tlkit.plan.plan import Flips

MAX_CHECKED = 400  # images
MIN_CHECKED = 20  # images; fewer are inconclusive
STRENGTH = 0.3  # L2 strength of the probes, as defined in `tlkit.linear.ridge`
TOLERANCE = 0.02  # loss of accuracy from mirroring that counts as noise


def balanced_sample(labels: Sequence[int], seed: int, max_images: int = MAX_CHECKED) -> list[int]:
    """Return the positions of at most ``max_images`` random images, taken from the classes in turn."""
    target = np.asarray(labels)
    order = np.random.default_rng([seed, 0xF11B]).permutation(len(target))
    turn = np.zeros(len(target), dtype=np.int64)
    seen: dict[int, int] = {}
    for place in order:
        turn[place] = seen[int(target[place])] = seen.get(int(target[place]), -1) + 1
    ranked = sorted((int(turn[place]), rank, int(place)) for rank, place in enumerate(order))
    return sorted(place for _, _, place in ranked[:max_images])


def check_flips(plain: Matrix, mirrored: Matrix, labels: Sequence[int], groups: Sequence[int], seed: int) -> Flips:
    """Compare the accuracy of probes on images and on their mirror images.

    Args:
        plain: Pooled features of the images, float32 [n, d].
        mirrored: Pooled features of the mirrored images, float32 [n, d].
        labels: Class index of each row.
        groups: Group of each row; copies of one image share a group.
        seed: Random seed of the folds.
    """
    target = np.asarray(labels, dtype=np.int64)
    folds = make_folds(target, groups, seed, 3)
    tested = np.concatenate([test for _, test in folds]) if folds else np.empty(0, np.int64)
    if len(tested) < MIN_CHECKED:
        return Flips(False, 0, 0.0, 0.0)
    right = np.zeros((2, len(target)), dtype=bool)
    for train, test in folds:
        present, numbers = np.unique(target[train], return_inverse=True)
        scaled, mean, deviation = standardise(plain[train])
        both = (np.concatenate([plain[test], mirrored[test]]) - mean) / deviation
        scores = ridge_scores(scaled, numbers, np.asarray(both, dtype=np.float32), (STRENGTH,))[0]
        right[:, test] = present[scores.argmax(axis=1)].reshape(2, -1) == target[test]
    return _compare(right[0, tested], right[1, tested])


def _compare(plain: NDArray[np.bool_], mirrored: NDArray[np.bool_]) -> Flips:
    """Call mirroring harmful if it loses more accuracy than `TOLERANCE` and more than 1.6 standard errors.

    The standard error is that of paired predictions (McNemar 1947): only images classified correctly in exactly one
    of the two versions count.
    """
    lost, won = int((plain & ~mirrored).sum()), int((mirrored & ~plain).sum())
    excess = (lost - won) / len(plain)
    noise = 1.6 * np.sqrt(lost + won) / len(plain)
    harmless = excess <= max(TOLERANCE, float(noise))
    return Flips(harmless, len(plain), float(plain.mean()), float(mirrored.mean()))
