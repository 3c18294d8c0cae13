"""Whether mirrored images still mean the same: measured on the data, never assumed.

A mirrored letter, digit, turn sign or left hand is another thing. Probes that have not seen an image classify it plain
and mirrored; where they are right less often on the mirrored ones, images are not flipped in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlkit.linear.folds import make_folds
from tlkit.linear.head import Matrix, standardise
from tlkit.linear.ridge import ridge_answers
from tlkit.plan.plan import Flips

MAX_CHECKED = 400  # images at most
MIN_CHECKED = 20  # fewer tell nothing
STRENGTH = 0.3  # of the probes' L2 regularisation, as `tlkit.linear.ridge` has it
TOLERATED = 0.02  # share of the images that may be lost to mirroring, as some is noise


def chosen_for_check(labels: Sequence[int], seed: int, most: int = MAX_CHECKED) -> list[int]:
    """Positions of the images to look at: at most so many, classes in turn."""
    target = np.asarray(labels)
    order = np.random.default_rng([seed, 0xF11B]).permutation(len(target))
    turn = np.zeros(len(target), dtype=np.int64)
    seen: dict[int, int] = {}
    for place in order:
        turn[place] = seen[int(target[place])] = seen.get(int(target[place]), -1) + 1
    ranked = sorted((int(turn[place]), rank, int(place)) for rank, place in enumerate(order))
    return sorted(place for _, _, place in ranked[:most])


def check_flips(plain: Matrix, mirrored: Matrix, labels: Sequence[int], groups: Sequence[int], seed: int) -> Flips:
    """Compare what probes say of images and of their mirror images.

    Args:
        plain: Pooled features, float32 [n, d].
        mirrored: Those of the mirrored images, float32 [n, d].
        labels: Class index of each row.
        groups: Copies of one image share a group.
        seed: Of the folds.
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
        answers = ridge_answers(scaled, numbers, np.asarray(both, dtype=np.float32), (STRENGTH,))[0]
        right[:, test] = present[answers.argmax(axis=1)].reshape(2, -1) == target[test]
    return _compare(right[0, tested], right[1, tested])


def _compare(plain: NDArray[np.bool_], mirrored: NDArray[np.bool_]) -> Flips:
    """Harmless unless more are lost than chance explains: over `TOLERATED`, and over 1.6 standard errors.

    The standard error is that of paired answers (McNemar 1947): only images that one side alone has right count.
    """
    lost, won = int((plain & ~mirrored).sum()), int((mirrored & ~plain).sum())
    excess = (lost - won) / len(plain)
    noise = 1.6 * np.sqrt(lost + won) / len(plain)
    harmless = excess <= max(TOLERATED, float(noise))
    return Flips(harmless, len(plain), float(plain.mean()), float(mirrored.mean()))
