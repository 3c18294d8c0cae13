"""Whether images come in groups: accuracy with images mixed at random against accuracy on groups never seen.

Images of one site, patient or clip look alike. With some of them in training, the others are easier than images of a
new site, and an accuracy measured on them is too high (Roberts et al. 2017, "Cross-validation strategies for data with
temporal, spatial, hierarchical, or phylogenetic structure").
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tlkit.linear.folds import make_folds
from tlkit.linear.head import Matrix
from tlkit.linear.scaling import standardise
from tlkit.store.disk_matrix import Vectors

MAX_ROWS = 1000  # images compared
MIN_GROUPS = 6  # groups of each class among them, if there are as many
FOLDS = 10
DRAWS = 3  # ways to deal the groups to folds, averaged
FEW_SHUFFLES, SHUFFLES = 19, 99  # random groups to compare with: a first look, and all
MIN_GAP = 0.03  # difference in accuracy below which nothing is said
MIN_DEVIATIONS = 3.0  # standard deviations of the accuracies of random groups that the difference must exceed
CONFIDENCE = 0.95  # one-sided, that new groups are harder on average, by Student's t over the groups
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)  # L2 strengths, see `tlkit.linear.ridge`

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class GroupedAccuracy:
    """Accuracy of a linear head on frozen features, cross-validated in two ways with the same numbers of images.

    Attributes:
        images: Number of images.
        groups: Number of groups.
        random: Accuracy if images are dealt to the folds at random, 0..1.
        grouped: Accuracy if whole groups are, 0..1.
        interval: 95% interval of ``grouped``, counting groups, not images.
        deviation: Standard deviation of the accuracy over random groups of the same sizes.
        error: Standard error of the difference between both, if other groups had been seen.
        below_all: Whether ``grouped`` is below the accuracy with every set of random groups that was tried.
    """

    images: int
    groups: int
    random: float
    grouped: float
    interval: tuple[float, float]
    deviation: float
    error: float
    below_all: bool

    @property
    def differs(self) -> bool:
        """Whether images of new groups are harder, by more than noise and by at least `MIN_GAP`.

        There are two kinds of noise: random groups differ too, and a few odd groups may make the whole difference.
        """
        from scipy.special import stdtrit

        spread = float(stdtrit(max(1, self.groups - 1), CONFIDENCE)) * self.error
        gap = self.random - self.grouped
        return self.below_all and gap >= max(MIN_GAP, MIN_DEVIATIONS * self.deviation, spread)


def compare_folds(
    features: Vectors, labels: Sequence[int], groups: Sequence[int], seed: int = 0
) -> GroupedAccuracy | None:
    """Compare folds of whole groups with folds of images mixed at random.

    The random folds hold exactly as many images of each class: the images of a class change places. If groups meant
    nothing, grouped accuracy would be one more such draw, so that this is a permutation test. A ridge classifier gives
    the answers of every fold from one decomposition, without being solved again: with H the matrix that smooths the
    labels, the errors on rows S of a classifier that has not seen them are (I - H_SS)^-1 times its errors with them.

    Args:
        features: float32 [n, d], of different images: a copy in another fold would help in the same way.
        labels: Class index of each row.
        groups: Group of each row.
        seed: Random seed.

    Returns:
        The accuracies, or None if there are too few groups for cross-validation.
    """
    given = np.asarray(labels, dtype=np.int64), np.asarray(groups, dtype=np.int64)
    rows = _sample(*given, seed)
    target, group = (np.unique(each[rows], return_inverse=True)[1] for each in given)
    # one thread: small matrix products gain nothing from more, and lose much when other programs keep the cores busy
    with threadpool_limits(1):
        return _compared(features[rows], target, group, seed)


def _compared(features: Matrix, target: Rows, group: Rows, seed: int) -> GroupedAccuracy | None:
    drawn = [found for draw in range(DRAWS) if (found := _fold_numbers(target, group, seed + draw)) is not None]
    if not drawn:
        return None
    deals = list(np.unique(drawn, axis=0))  # with two or three groups there are hardly different ones
    answers = _Answers(standardise(features)[0], target)
    right = np.mean([answers.right(deal) for deal in deals], axis=0)
    tested = np.any([deal >= 0 for deal in deals], axis=0)
    grouped = float(right[tested].mean())
    rng = np.random.default_rng([seed, 0x6E0])
    classes = [np.flatnonzero(target == label) for label in range(int(target.max()) + 1)]
    random: list[float] = []
    mixed = np.zeros(len(target))
    for count in (FEW_SHUFFLES, SHUFFLES):
        while len(random) < count:
            shuffled = _shuffled(answers, deals, classes, rng)
            random.append(float(shuffled[tested].mean()))
            mixed += shuffled
        if np.mean(random) - grouped < MIN_GAP:
            break
    gained = mixed / len(random) - right
    return GroupedAccuracy(
        images=len(target),
        groups=int(group.max()) + 1,
        random=float(np.mean(random)),
        grouped=grouped,
        interval=interval_over_groups(right[tested], group[tested]),
        deviation=float(np.std(random, ddof=1)),
        error=_error_over_groups(gained[tested], group[tested]),
        below_all=grouped < min(random),
    )


def interval_over_groups(right: Floats, groups: Rows) -> tuple[float, float]:
    """Return a 95% interval for an accuracy on images that come in groups.

    Wilson's interval for as many independent images as would vary as much as the groups do: the ratio estimator of
    cluster sampling (Cochran 1977, "Sampling Techniques"; Korn & Graubard 1998).

    Args:
        right: Share of right answers for each image, 0..1.
        groups: Group of each image.
    """
    _, number = np.unique(groups, return_inverse=True)
    sizes, sums = np.bincount(number), np.bincount(number, weights=right)
    share, count = float(right.mean()), len(sizes)
    variance = float(((sums - share * sizes) ** 2).sum()) * count / max(1, count - 1) / len(right) ** 2
    alike = share * (1 - share) / variance if variance > 0 else 0.0
    effective = min(float(len(right)), max(float(count), alike))
    z = 1.959964
    centre = (share + z * z / (2 * effective)) / (1 + z * z / effective)
    half = z / (1 + z * z / effective) * math.sqrt(share * (1 - share) / effective + (z / (2 * effective)) ** 2)
    return max(0.0, centre - half), min(1.0, centre + half)


def _sample(target: Rows, group: Rows, seed: int) -> Rows:
    """Return about `MAX_ROWS` rows: whole groups, several of each class, thinned out if they are too large."""
    if len(group) <= MAX_ROWS:
        return np.arange(len(group))
    rng = np.random.default_rng([seed, 0x5A3])
    number = np.unique(group, return_inverse=True)[1]
    rows_of = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    held, kept, total = Counter[int](), [], 0
    for each in rng.permutation(len(rows_of)):
        its = rows_of[each]
        classes = np.unique(target[its]).tolist()
        if total + len(its) <= MAX_ROWS or any(held[label] < MIN_GROUPS for label in classes):
            kept.append(its)
            held.update(classes)
            total += len(its)
    rows = np.concatenate(kept)
    return np.sort(rows if total <= MAX_ROWS else rng.permutation(rows)[:MAX_ROWS])


def _fold_numbers(target: Rows, group: Rows, seed: int) -> Rows | None:
    """Return the number of the fold in which each row is tested, -1 for those that are not; None: no folds."""
    folds = make_folds(target, group.tolist(), seed, FOLDS)
    if not folds:
        return None
    number = np.full(len(target), -1)
    for each, (_, test) in enumerate(folds):
        number[test] = each
    return number


class _Answers:
    """Answers of ridge classifiers that have not seen some of the rows, from one decomposition of all.

    The L2 strength is the one with the lowest leave-one-out error.

    Args:
        scaled: Standardised features, float32 [n, d].
        target: Class index of each row.
    """

    def __init__(self, scaled: Matrix, target: Rows) -> None:
        from scipy.linalg import eigh

        self._target = target
        centred = scaled - scaled.mean(axis=0)
        values, vectors = eigh((centred @ centred.T).astype(np.float64), check_finite=False)
        values = np.maximum(values, 0.0)
        truth = np.eye(int(target.max()) + 1)[target]
        lowest = np.inf
        for strength in STRENGTHS:
            shrunk = values / (values + strength * max(1e-12, float(values.mean())))
            kept = 1 / len(target) + (vectors**2) @ shrunk
            errors = truth - truth.mean(axis=0) - vectors @ (shrunk[:, None] * (vectors.T @ truth))
            loss = float(((errors / (1 - kept)[:, None]) ** 2).sum())
            if loss < lowest:
                lowest, self._errors, best = loss, errors, shrunk
        self._smoother = (vectors * best) @ vectors.T + 1 / len(target)
        self._truth = truth

    def __len__(self) -> int:
        return len(self._target)

    def right(self, number: Rows) -> Floats:
        """Whether each row is classified correctly by a classifier that has not seen its fold, 0. or 1., float64 [n].

        Args:
            number: Fold of each row; -1: it is in the training rows of all folds.
        """
        found = np.zeros(len(number))
        for each in range(int(number.max()) + 1):
            rows = np.flatnonzero(number == each)
            inner = np.eye(len(rows)) - self._smoother[np.ix_(rows, rows)]
            scores = self._truth[rows] - np.linalg.solve(inner, self._errors[rows])
            found[rows] = scores.argmax(axis=1) == self._target[rows]
        return found


def _shuffled(answers: _Answers, deals: Sequence[Rows], classes: Sequence[Rows], rng: np.random.Generator) -> Floats:
    """Return the share of right answers for each row with random groups of the same sizes, float64 [n].

    The images of each class change places. Rows that are not tested in place of others count as 0.
    """
    places = [rng.permutation(its) for its in classes]
    found, tested = np.zeros(len(answers)), np.zeros(len(answers))
    for deal in deals:
        number = np.empty_like(deal)
        for its, other in zip(classes, places, strict=True):
            number[its] = deal[other]
        found += answers.right(number)
        tested += number >= 0
    return found / np.maximum(1, tested)


def _error_over_groups(values: Floats, groups: Rows) -> float:
    """Return the standard error of the mean of values that come in groups, as in `interval_over_groups`."""
    number = np.unique(groups, return_inverse=True)[1]
    sizes, sums = np.bincount(number), np.bincount(number, weights=values)
    count = len(sizes)
    return math.sqrt(float(((sums - values.mean() * sizes) ** 2).sum()) * count / max(1, count - 1)) / len(values)
