"""Cross-validated probes on frozen features: one forward pass, no training of the network.

Linear probes and nearest neighbours predict the outcome of transfer learning as well as dedicated scores do
(Agostinelli et al. 2022, "How stable are Transferability Metrics evaluations?"), and accuracies are easy to understand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.extractor import TOP, Taps, rows_of, widths_of
from tlkit.linear.folds import Fold, folds_for, make_folds
from tlkit.linear.head import Matrix
from tlkit.linear.ridge import ridge_scores
from tlkit.linear.scaling import standardise
from tlkit.linear.taps import early_stages
from tlkit.progress import Progress, SilentProgress
from tlkit.store.disk_matrix import Vectors

ALL_STAGES = "all"
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)  # L2 strengths, see `tlkit.linear.ridge`
MAX_ROWS = 10_000  # sampled training images
MIN_OF_CLASS = 4  # sampled images per class, if there are as many
NEIGHBOURS = 5
MAX_NEIGHBOUR_ROWS = 4000  # sampled images for nearest neighbours
SHARES = (0.25, 0.5)  # shares of the training rows of each fold, for the learning curve


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier on some frozen features, cross-validated.

    Attributes:
        name: "top", a stage, or "all".
        accuracy: Accuracy on held-out images, 0..1.
        squared_error: Mean squared error of the scores against one-hot labels, on the same images.
        strength: L2 strength with the lowest such error.
        right: Whether each image was classified correctly, bool [n].
    """

    name: str
    accuracy: float
    squared_error: float
    strength: float
    right: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Probes:
    """Results of cross-validation on a dataset.

    Attributes:
        images: Number of training images.
        classes: Number of classes.
        chance: Share of the largest class, 0..1.
        last: Probe on the features of the top.
        together: Probe on the features of all stages.
        early: Probes on each early or middle stage, from input to output.
        neighbours: Accuracy of nearest neighbours in the features of the top, 0..1.
        curve: Learning curve on the top: (share of the training images, accuracy), up to (1.0, ``last.accuracy``).
        recalls: Recall of each class with the probe on the top, 0..1.
        noise: Standard error of ``last.accuracy``: from the folds or from the number of images, whichever is larger.
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
        """The probe with the lowest squared error among the early and middle stages."""
        return min(self.early, key=lambda probe: probe.squared_error)


def run_probes(
    matrix: Vectors,
    taps: Taps,
    labels: Sequence[int],
    groups: Sequence[int],
    *,
    balanced: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Probes | None:
    """Cross-validate probes on the features of every depth; return None if a class is too small for it.

    Args:
        matrix: Features of the training images, float32 [n, columns], the ``taps`` concatenated.
        taps: (name, width) of each tap, the top last.
        labels: Class index of each row; every class has at least one row.
        groups: Group of each row; copies of one image share a group.
        balanced: Weight classes by inverse frequency.
        seed: Random seed of folds and samples.
        progress: Progress reporter.
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
    """Cross-validate a classifier at several L2 strengths and return the best result."""
    found = np.zeros((len(strengths), len(target), int(target.max()) + 1), dtype=np.float32)
    for train, test in folds:
        scores = ridge_scores(scaled[train], target[train], scaled[test], strengths, balanced=balanced)
        for number, values in enumerate(scores):
            found[number, test] = values
    tested = _tested(folds)
    truth = np.eye(found.shape[2], dtype=np.float32)[target[tested]]
    errors = [float(((each[tested] - truth) ** 2).sum(axis=1).mean()) for each in found]
    best = int(np.argmin(errors))
    right = found[best, tested].argmax(axis=1) == target[tested]
    return Probe(name, float(right.mean()), errors[best], strengths[best], right)


def _tested(folds: list[Fold]) -> NDArray[np.int64]:
    return np.sort(np.concatenate([test for _, test in folds]))


def _sample(target: NDArray[np.int64], group: NDArray[np.int64], max_rows: int, seed: int) -> NDArray[np.int64]:
    """Return about ``max_rows`` random rows, ascending, with a few distinct images of every class."""
    if len(target) <= max_rows:
        return np.arange(len(target))
    order = np.random.default_rng([seed, 1]).permutation(len(target))
    chosen = [order[:max_rows]]
    for label in np.unique(target):
        its = order[target[order] == label]
        _, firsts = np.unique(group[its], return_index=True)
        chosen.append(its[np.sort(firsts)[:MIN_OF_CLASS]])
    return np.unique(np.concatenate(chosen))


def _learning_curve(
    scaled: Matrix, target: NDArray[np.int64], folds: list[Fold], last: Probe, balanced: bool, seed: int
) -> tuple[tuple[float, float], ...]:
    """Return (share of the training images, accuracy) up to all images."""
    points = []
    for share in SHARES:
        fewer = [(_part(train, target, share, seed), test) for train, test in folds]
        points.append((share, _probe(TOP, scaled, target, fewer, (last.strength,), balanced).accuracy))
    return (*points, (1.0, last.accuracy))


def _part(rows: NDArray[np.int64], target: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Return a random share of rows, stratified by class, with at least one row of each."""
    order = np.random.default_rng([seed, 3]).permutation(rows)
    classes = [order[target[order] == label] for label in np.unique(target[rows])]
    return np.sort(np.concatenate([its[: max(1, round(share * len(its)))] for its in classes]))


def _recalls(right: NDArray[np.bool_], target: NDArray[np.int64], folds: list[Fold]) -> tuple[float, ...]:
    """Return the recall of each class present; 0 if none of its images was tested."""
    tested = target[_tested(folds)]
    return tuple(
        float(right[tested == label].mean()) if (tested == label).any() else 0.0 for label in np.unique(target)
    )


def _nearest(scaled: Matrix, target: NDArray[np.int64], group: NDArray[np.int64], seed: int) -> float:
    """Return the leave-one-out accuracy of nearest neighbours by cosine similarity, ignoring copies."""
    rows = _sample(target, group, MAX_NEIGHBOUR_ROWS, seed)
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
        # closer neighbours get slightly more weight, to break ties
        np.add.at(
            votes, (np.arange(len(best))[:, None], labels[best]), 1 + 1e-3 * np.nan_to_num(closeness, neginf=-1e3)
        )
        right += int((votes.argmax(axis=1) == labels[part]).sum())
    return right / len(rows)


def _noise(right: NDArray[np.bool_], folds: list[Fold]) -> float:
    """Return the standard error of an accuracy: binomial (Agresti & Coull 1998) or over folds, whichever is larger."""
    share = (right.sum() + 1) / (len(right) + 2)
    binomial = np.sqrt(share * (1 - share) / len(right))
    tested = _tested(folds)
    by_fold = [right[np.searchsorted(tested, test)].mean() for _, test in folds]
    spread = np.std(by_fold, ddof=1) / np.sqrt(len(folds)) if len(folds) > 1 else 0.0
    return float(max(binomial, spread))
