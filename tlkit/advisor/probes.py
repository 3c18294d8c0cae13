"""What cross-validation on the frozen features says about a data set: one forward pass, no training of the network.

Linear probes and nearest neighbours predict the outcome of transfer as well as the scores made for it do (Agostinelli
et al. 2022, "How stable are Transferability Metrics evaluations?"), and they are accuracies, which anyone understands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.extractor import TOP, Taps, rows_of, widths_of
from tlkit.linear.folds import Fold, folds_for, make_folds
from tlkit.linear.head import Matrix, standardise
from tlkit.linear.ridge import ridge_scores
from tlkit.linear.taps import early_stages
from tlkit.progress import Progress, SilentProgress

ALL_STAGES = "all"
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)  # of the L2 regularisation, see `tlkit.linear.ridge`
MAX_ROWS = 10_000  # rows looked at
MIN_OF_CLASS = 4  # of a class, at least, among them
NEIGHBOURS = 5
NEIGHBOURED = 4000  # rows at most that neighbours are looked for among
SHARES = (0.25, 0.5)  # of the training rows of each fold, for the learning curve


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier on some frozen features, cross-validated.

    Attributes:
        name: "top", a stage, or "all".
        accuracy: On images that the head has not seen, 0..1.
        squared_error: Of its answers to the same, from the one-hot labels.
        strength: Of the L2 regularisation, chosen by that error.
        right: Whether each of them was classified right, bool [n].
    """

    name: str
    accuracy: float
    squared_error: float
    strength: float
    right: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Probes:
    """What cross-validation says about a data set.

    Attributes:
        images: How many there are to train on.
        classes: How many classes.
        chance: Share of the largest class, 0..1.
        last: On the top's features.
        together: On all stages' features.
        early: On each early or middle stage's, from input to output.
        neighbours: Accuracy of the nearest neighbours in the top's features, 0..1.
        curve: (share of the training images, accuracy on the top's features), ending with (1.0, ``last.accuracy``).
        recalls: Share of each class's images that the head on the top's features got right, 0..1.
        noise: Standard error of ``last.accuracy``: from the folds or the number of images, the larger.
    """

    images: int
    classes: int
    chance: float
    last: Probe
    together: Probe
    early: tuple[Probe, ...]
    neighbours: float
    curve: tuple[tuple[float, float], ...]
    recalls: tuple[float, ...]
    noise: float

    @property
    def best_early(self) -> Probe:
        """That of the early or middle stage with the least squared error."""
        return min(self.early, key=lambda probe: probe.squared_error)


def run_probes(
    matrix: Matrix,
    taps: Taps,
    labels: Sequence[int],
    groups: Sequence[int],
    *,
    balanced: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Probes | None:
    """Cross-validate heads on the features of every depth; None where a class is too small for it.

    Args:
        matrix: float32 [n, columns] of the training images, the blocks ``taps`` one after another.
        taps: (name, width) of each block, the top last.
        labels: Class index of each row, every class with at least one.
        groups: Copies of one image share a group.
        balanced: Weigh classes by the inverse of their share.
        seed: Of folds and samples.
        progress: Told about every probe.
    """
    given = np.asarray(labels, dtype=np.int64)
    rows = _sample(given, np.asarray(groups, dtype=np.int64), MAX_ROWS, seed)
    present, target = np.unique(given[rows], return_inverse=True)
    group = np.asarray(groups, dtype=np.int64)[rows]
    folds = make_folds(target, group.tolist(), seed, folds_for(len(target)))
    if not folds:
        return None
    names = [name for name, _ in taps]
    stages = early_stages(taps)
    with (progress or SilentProgress()).phase("Probes", len(stages) + 4) as advance:

        def probe(name: str) -> tuple[Probe, Matrix]:
            chosen = names if name == ALL_STAGES else [name]
            scaled = standardise(rows_of(matrix, taps, chosen)[rows], widths_of(taps, chosen))[0]
            made = _probe(name, scaled, target, folds, STRENGTHS, balanced)
            advance(1)
            return made, scaled

        last, scaled = probe(TOP)
        together, _ = probe(ALL_STAGES)
        early = tuple(probe(stage)[0] for stage in stages)
        curve = _learning_curve(scaled, target, folds, last, balanced, seed)
        advance(1)
        neighbours = _nearest(scaled, target, group, seed)
        advance(1)
    return Probes(
        images=len(given),
        classes=len(present),
        chance=float(np.bincount(given).max() / len(given)),
        last=last,
        together=together,
        early=early,
        neighbours=neighbours,
        curve=curve,
        recalls=_recalls(last.right, target, folds),
        noise=_noise(last.right, folds),
    )


def _probe(
    name: str,
    scaled: Matrix,
    target: NDArray[np.int64],
    folds: list[Fold],
    strengths: Sequence[float],
    balanced: bool,
) -> Probe:
    """Answers to every tested row from a classifier that has not seen it; of several strengths the best one's."""
    found = np.zeros((len(strengths), len(target), int(target.max()) + 1), dtype=np.float32)
    for train, test in folds:
        answers = ridge_scores(scaled[train], target[train], scaled[test], strengths, balanced=balanced)
        for place, answer in enumerate(answers):
            found[place, test] = answer
    tested = _tested(folds)
    truth = np.eye(found.shape[2], dtype=np.float32)[target[tested]]
    errors = [float(((each[tested] - truth) ** 2).sum(axis=1).mean()) for each in found]
    best = int(np.argmin(errors))
    right = found[best, tested].argmax(axis=1) == target[tested]
    return Probe(name, float(right.mean()), errors[best], strengths[best], right)


def _tested(folds: list[Fold]) -> NDArray[np.int64]:
    return np.sort(np.concatenate([test for _, test in folds]))


def _sample(target: NDArray[np.int64], group: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Rows by chance, about so many at most, with a few of every class that are no copies, in order."""
    if len(target) <= most:
        return np.arange(len(target))
    order = np.random.default_rng([seed, 1]).permutation(len(target))
    chosen = [order[:most]]
    for label in np.unique(target):
        its = order[target[order] == label]
        _, firsts = np.unique(group[its], return_index=True)
        chosen.append(its[np.sort(firsts)[:MIN_OF_CLASS]])
    return np.unique(np.concatenate(chosen))


def _learning_curve(
    scaled: Matrix, target: NDArray[np.int64], folds: list[Fold], last: Probe, balanced: bool, seed: int
) -> tuple[tuple[float, float], ...]:
    """(share of the training images, accuracy), up to all of them."""
    points = []
    for share in SHARES:
        fewer = [(_part(train, target, share, seed), test) for train, test in folds]
        points.append((share, _probe(TOP, scaled, target, fewer, (last.strength,), balanced).accuracy))
    return (*points, (1.0, last.accuracy))


def _part(rows: NDArray[np.int64], target: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """A share of some rows, the same of each class, and at least one of it."""
    order = np.random.default_rng([seed, 3]).permutation(rows)
    classes = [order[target[order] == label] for label in np.unique(target[rows])]
    return np.sort(np.concatenate([its[: max(1, round(share * len(its)))] for its in classes]))


def _recalls(right: NDArray[np.bool_], target: NDArray[np.int64], folds: list[Fold]) -> tuple[float, ...]:
    """Share of each present class's tested images that are right."""
    tested = target[_tested(folds)]
    return tuple(
        float(right[tested == label].mean()) if (tested == label).any() else 0.0 for label in np.unique(target)
    )


def _nearest(scaled: Matrix, target: NDArray[np.int64], group: NDArray[np.int64], seed: int) -> float:
    """Accuracy of the majority among the nearest images by cosine that are no copies, leaving one out."""
    rows = _sample(target, group, NEIGHBOURED, seed)
    unit = scaled[rows] / np.maximum(np.linalg.norm(scaled[rows], axis=1, keepdims=True), 1e-12)
    labels, groups = target[rows], group[rows]
    kinds = np.unique(np.stack([labels, groups]), axis=1)[0]
    count, right = max(1, min(NEIGHBOURS, int(np.bincount(kinds)[np.unique(kinds)].min()) - 1)), 0
    for start in range(0, len(rows), 500):
        part = slice(start, start + 500)
        near = unit[part] @ unit.T
        near[groups[part][:, None] == groups[None, :]] = -np.inf
        best = np.argpartition(-near, count - 1, axis=1)[:, :count]
        closeness = np.take_along_axis(near, best, axis=1)
        votes = np.zeros((len(best), int(labels.max()) + 1))
        # a vote counts a little more the closer it is, which decides between equally many
        np.add.at(
            votes, (np.arange(len(best))[:, None], labels[best]), 1 + 1e-3 * np.nan_to_num(closeness, neginf=-1e3)
        )
        right += int((votes.argmax(axis=1) == labels[part]).sum())
    return right / len(rows)


def _noise(right: NDArray[np.bool_], folds: list[Fold]) -> float:
    """Standard error of an accuracy: binomial, with two images added (Agresti & Coull 1998), or that of the folds."""
    share = (right.sum() + 1) / (len(right) + 2)
    binomial = np.sqrt(share * (1 - share) / len(right))
    tested = _tested(folds)
    by_fold = [right[np.searchsorted(tested, test)].mean() for _, test in folds]
    spread = np.std(by_fold, ddof=1) / np.sqrt(len(folds)) if len(folds) > 1 else 0.0
    return float(max(binomial, spread))
