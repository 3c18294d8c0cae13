"""Folds for cross-validation: stratified, and no two copies of an image on different sides.

scikit-learn's `StratifiedGroupKFold` makes such folds too, but looks at groups one by one, all classes each time, which
takes seconds for ten thousand images and is asked for again and again; nearly all groups are single images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
MANY, FEW_FOLDS = 1000, 3  # rows from which on fewer folds tell as much, in half the time

Rows = NDArray[np.int64]
Fold = tuple[Rows, Rows]  # rows to solve on, rows to test on


def folds_for(rows: int) -> int:
    """How many folds suit so many rows."""
    return FOLDS if rows < MANY else FEW_FOLDS


def make_folds(labels: Rows, groups: Sequence[int] | None, seed: int, most: int = FOLDS) -> list[Fold]:
    """Divide rows by chance into folds with about the same number of each class, and whole groups.

    At most ``most``, at most as many as the smallest class has groups, and none where that is one. Folds whose
    training side lacks a class are left out.

    Args:
        labels: Class index of each row, int64 [n].
        groups: Rows of one group are never on both sides of a fold; None: each is its own.
        seed: Of the draw.
        most: Folds at most.

    Returns:
        Of each fold the rows to solve on and those to test on, in order; every row is tested at most once.
    """
    _, target = np.unique(labels, return_inverse=True)
    group = np.arange(len(target)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    kinds = np.unique(np.stack([target, group]), axis=1)[0]  # each class once for each of its groups
    count = min(most, int(np.bincount(kinds).min()))
    if count < 2:
        return []
    number = _dealt(target, group, count, np.random.default_rng([seed, 0xF01D]))
    rows = np.arange(len(target))
    folds = [(rows[number != each], rows[number == each]) for each in range(count)]
    present = len(np.unique(target))
    return [fold for fold in folds if len(np.unique(target[fold[0]])) == present and len(fold[1])]


def _dealt(target: Rows, group: Rows, count: int, rng: np.random.Generator) -> Rows:
    """The fold of each row: first whole groups, from the largest on, then the single rows, which even out the rest."""
    number = np.full(len(target), -1)
    held = np.zeros((int(target.max()) + 1, count), dtype=np.int64)  # rows of each class in each fold
    sizes = np.bincount(group)
    for several in sorted(rng.permutation(np.flatnonzero(sizes > 1)), key=lambda each: -sizes[each]):
        its = np.flatnonzero(group == several)
        classes = np.bincount(target[its], minlength=len(held))
        # to where there is least of its classes, and of those to where there is least of all
        fold = int(np.lexsort((held.sum(axis=0), classes @ held))[0])
        number[its] = fold
        held[:, fold] += classes
    for label in range(len(held)):
        its = rng.permutation(np.flatnonzero((target == label) & (number < 0)))
        # places in all folds from the lowest on, as if each were filled up with rows of the class
        height = held[label][:, None] + np.arange(len(its))
        least = np.repeat(held.sum(axis=0), len(its))
        places = np.lexsort((least, height.ravel()))[: len(its)] // max(1, len(its))
        number[its] = places
        held[label] += np.bincount(places, minlength=count)
    return number
