"""Stratified folds for cross-validation that keep groups, such as the copies of an image, in the same fold.

scikit-learn's `StratifiedGroupKFold` does the same, but evaluates every class for every group. That takes seconds for
ten thousand images, and folds are needed often. Here nearly all groups are single images, which allows a faster way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
ATTEMPTS = 8  # draws, until no fold lacks a class
MANY_ROWS, FEW_FOLDS = 1000, 3  # from this many rows on, fewer folds are as accurate, in half the time

Rows = NDArray[np.int64]
Fold = tuple[Rows, Rows]  # training rows, test rows


def folds_for(rows: int) -> int:
    """Return how many folds to use for this many rows."""
    return FOLDS if rows < MANY_ROWS else FEW_FOLDS


def make_folds(labels: Rows, groups: Sequence[int] | None, seed: int, max_folds: int = FOLDS) -> list[Fold]:
    """Split rows at random into stratified folds that keep groups whole.

    A group that holds all rows of a class is never tested: without it, that class could not be learned. The number of
    folds is at most ``max_folds`` and at most the number of groups of any class that is tested completely. There are no
    folds if fewer than two classes can be tested. Folds whose training rows lack a class are left out.

    Args:
        labels: Class index of each row, int64 [n].
        groups: Group of each row, which may hold several classes; a group is never on both sides of a fold. None: each
            row is its own group.
        seed: Random seed.
        max_folds: Maximum number of folds.

    Returns:
        The training rows and test rows of each fold, in ascending order. Every row is tested at most once.
    """
    _, target = np.unique(labels, return_inverse=True)
    group = np.arange(len(target)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    free, count = _tested_rows(target, group, max_folds)
    if count < 2:
        return []
    number = np.full(len(target), -1)
    present = len(np.unique(target))
    rows = np.arange(len(target))
    found: list[Fold] = []
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([seed, 0xF01D + attempt])
        number[free] = _assign(target[free], group[free], count, rng)
        folds = [(rows[number != each], rows[number == each]) for each in range(count)]
        folds = [fold for fold in folds if len(np.unique(target[fold[0]])) == present and len(fold[1])]
        found = max(found, folds, key=len)
        if len(found) == count:
            break
    return found


def _tested_rows(target: Rows, group: Rows, max_folds: int) -> tuple[Rows, int]:
    """Return the rows that can be tested, and the number of folds; 0 if fewer than two classes can be tested."""
    kinds = np.unique(np.stack([target, group]), axis=1)  # one column per pair of class and group
    many = np.bincount(kinds[0])
    needed = np.unique(kinds[1, many[kinds[0]] == 1])
    free = np.flatnonzero(~np.isin(group, needed))
    left = kinds[:, ~np.isin(kinds[1], needed)]
    tested = np.unique(left[0])
    if len(tested) < min(2, len(many)):
        return free, 0
    whole = np.setdiff1d(tested, kinds[0, np.isin(kinds[1], needed)])  # classes without a row in an untested group
    fewest = np.bincount(left[0], minlength=len(many))[whole]
    return free, min(max_folds, len(np.unique(left[1])), *fewest.tolist())


def _assign(target: Rows, group: Rows, count: int, rng: np.random.Generator) -> Rows:
    """Assign each row to a fold: groups first, largest first, then single rows to balance the folds."""
    number = np.full(len(target), -1)
    held = np.zeros((int(target.max()) + 1, count), dtype=np.int64)  # rows of each class in each fold
    size = np.maximum(1, np.bincount(target))  # so that a rare class counts as much as a frequent one
    sizes = np.bincount(group)
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(sizes)
    for several in sorted(rng.permutation(np.flatnonzero(sizes > 1)), key=lambda each: -sizes[each]):
        its = order[ends[several] - sizes[several] : ends[several]]
        classes = np.bincount(target[its], minlength=len(held))
        # the fold with the fewest rows of these classes; on a tie, the smallest fold
        fold = int(np.lexsort((held.sum(axis=0), (classes / size**2) @ held))[0])
        number[its] = fold
        held[:, fold] += classes
    for label in range(len(held)):
        its = rng.permutation(np.flatnonzero((target == label) & (number < 0)))
        # fill the folds level by level, the one with the fewest rows of this class first
        height = held[label][:, None] + np.arange(len(its))
        least = np.repeat(held.sum(axis=0), len(its))
        places = np.lexsort((least, height.ravel()))[: len(its)] // max(1, len(its))
        number[its] = places
        held[label] += np.bincount(places, minlength=count)
    return number


def thinned(folds: list[Fold], target: Rows, seed: int, most: int) -> list[Fold]:
    """Limit folds to ``most`` training rows and as many test rows, keeping every class."""
    rng = np.random.default_rng(seed)

    def thin(rows: Rows) -> Rows:
        if len(rows) <= most:
            return rows
        mixed = rng.permutation(rows)
        _, firsts = np.unique(target[mixed], return_index=True)
        order = np.concatenate([firsts, np.setdiff1d(np.arange(len(mixed)), firsts)])
        return np.sort(mixed[order[: max(most, len(firsts))]])

    return [(thin(train), thin(test)) for train, test in folds]
