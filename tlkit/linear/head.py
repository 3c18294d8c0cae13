"""The softmax head on frozen features: multinomial logistic regression, solved to the end.

A linear head on fixed features is a convex problem, so it is solved (L-BFGS) instead of trained for some epochs.
Some published deficits of linear probes come from heads that were not solved; see Kornblith et al. 2019, "Do Better
ImageNet Models Transfer Better?", for logistic regression on frozen features as a baseline.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tlkit.images.batches import cpu_count
from tlkit.linear.folds import Fold, folds_for, make_folds
from tlkit.progress import Progress, SilentProgress

GRID = tuple(float(10.0**power) for power in np.arange(-5, 1.01, 0.5))  # C = 1 / (L2 strength)
FALLBACK = 1e-2  # where a class is too small to be divided into folds
SEARCHED = 5000  # rows at most that values of C are compared on
FLOOR = 1.0  # share of a block's mean variance that is added to each column's
PATIENCE = 2  # steps of the grid without a lower loss before the search ends
LARGE = 5_000_000  # numbers in the features; below, one BLAS thread is as fast and unmoved by other programs
FINE, COARSE = 1e-5, 1e-4  # solver tolerances: for the head itself, and to compare values of C

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class GridPoint:
    """One regularisation strength tried: C (inverse L2 strength), mean log loss and accuracy over the folds."""

    c: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class Head:
    """A solved softmax head on raw (unscaled) features.

    Attributes:
        kernel: float32 [features, classes].
        bias: float32 [classes].
        c: The inverse L2 strength chosen, on standardised features.
        search: What cross-validation measured; empty where it was not possible.
    """

    kernel: Matrix
    bias: NDArray[np.float32]
    c: float
    search: tuple[GridPoint, ...]

    def logits(self, features: Matrix) -> Matrix:
        """float32 [n, features] to float32 [n, classes]."""
        return np.asarray(features @ self.kernel + self.bias, dtype=np.float32)

    def cooled(self, temperature: float) -> Head:
        """The same head with its logits divided by a temperature."""
        return replace(self, kernel=self.kernel / np.float32(temperature), bias=self.bias / np.float32(temperature))

    def probabilities(self, features: Matrix) -> Matrix:
        """float32 [n, features] to softmax probabilities, float32 [n, classes], rows sum to 1."""
        logits = self.logits(features)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def solve_head(
    features: Matrix,
    labels: Sequence[int],
    classes: int,
    *,
    groups: Sequence[int] | None = None,
    balanced: bool = False,
    blocks: Sequence[int] = (),
    seed: int = 0,
    c: float | None = None,
    progress: Progress | None = None,
) -> Head:
    """Solve the head, with the L2 strength of least cross-validated log loss.

    Features are standardised by the training images; the scaling is folded into the head, so that it applies to raw
    features.

    Args:
        features: float32 [n, d].
        labels: Class index of each row; every class has at least one.
        classes: How many classes there are.
        groups: Rows of one group (copies of a photograph) are never on both sides of a fold.
        balanced: Weigh each class by the inverse of its share.
        blocks: Widths of the columns' blocks, each of a scale of its own; empty: one block.
        seed: Of the folds.
        c: Inverse L2 strength to use; None: by cross-validation.
        progress: Told about every value tried.
    """
    target = np.asarray(labels, dtype=np.int64)
    scaled, mean, deviation = standardise(features, blocks)
    search = _search(scaled, labels, groups, balanced, seed, progress) if c is None else []
    if c is None:
        c = min(search, key=lambda point: point.log_loss).c if search else FALLBACK
    solved = _solver(c, balanced, FINE)
    with _quiet(), threadpool_limits(1 if scaled.size < LARGE else None):
        solved.fit(scaled, target)
    weights, bias = _softmax_form(solved, classes)
    kernel = weights.T / deviation[:, None]
    return Head(
        kernel=np.asarray(kernel, dtype=np.float32),
        bias=np.asarray(bias - mean @ kernel, dtype=np.float32),
        c=c,
        search=tuple(search),
    )


def least_loss(
    features: Matrix,
    labels: Sequence[int],
    *,
    groups: Sequence[int] | None = None,
    balanced: bool = False,
    blocks: Sequence[int] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> GridPoint | None:
    """What cross-validation measures of these features at the best L2 strength; None where it is not possible.

    The arguments are those of `solve_head`, which would find the same.
    """
    search = _search(standardise(features, blocks)[0], labels, groups, balanced, seed, progress)
    return min(search, key=lambda point: point.log_loss) if search else None


def _search(
    scaled: Matrix,
    labels: Sequence[int],
    groups: Sequence[int] | None,
    balanced: bool,
    seed: int,
    progress: Progress | None,
) -> list[GridPoint]:
    target = np.asarray(labels, dtype=np.int64)
    folds = make_folds(target, groups, seed, folds_for(len(target)))
    return cross_validate(scaled, target, _thinned(folds, target, seed), balanced=balanced, progress=progress)[0]


def standardise(
    features: Matrix, blocks: Sequence[int] = ()
) -> tuple[Matrix, NDArray[np.float64], NDArray[np.float64]]:
    """Features less their mean over a deviation that is not too small, float32 [n, d], with both [d].

    The variance of each column is raised by `FLOOR` times its block's mean variance. With few images some channels
    are all but silent on them; dividing by their own deviation would make those the loudest on other images
    (``benchmarks/head_scaling.py``).

    Args:
        features: float32 [n, d].
        blocks: Widths of the columns' blocks, which add up to d; empty: one block.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    scaled = features - mean.astype(np.float32)  # changed in place from here on: it may be most of the memory
    variance = np.einsum("ij,ij->j", scaled, scaled, dtype=np.float64) / len(scaled)
    parts = np.split(variance, np.cumsum(blocks)[:-1]) if blocks else [variance]
    deviation = np.sqrt(np.concatenate([part + FLOOR * part.mean() for part in parts]))
    deviation[deviation < 1e-6] = 1.0
    scaled /= deviation.astype(np.float32)
    return scaled, mean, deviation


def _thinned(folds: list[Fold], target: NDArray[np.int64], seed: int) -> list[Fold]:
    """Folds with at most `SEARCHED` rows to solve on and as many to test on, every class among them."""
    rng = np.random.default_rng(seed)

    def thin(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(rows) <= SEARCHED:
            return rows
        mixed = rng.permutation(rows)
        _, firsts = np.unique(target[mixed], return_index=True)
        order = np.concatenate([firsts, np.setdiff1d(np.arange(len(mixed)), firsts)])
        return np.sort(mixed[order[: max(SEARCHED, len(firsts))]])

    return [(thin(train), thin(test)) for train, test in folds]


def cross_validate(
    scaled: Matrix,
    target: NDArray[np.int64],
    folds: list[Fold],
    *,
    grid: Sequence[float] = GRID,
    balanced: bool = False,
    progress: Progress | None = None,
) -> tuple[list[GridPoint], Matrix]:
    """Walk the grid of C from strong to weak regularisation until the loss has risen; each step starts from the last.

    Args:
        scaled: Standardised features, float32 [n, d].
        target: Class indices, int64 [n].
        folds: As `make_folds` gives them; none gives an empty search.
        grid: Values of C, from small to large.
        balanced: Weigh classes by the inverse of their share.
        progress: Told about every solution.

    Returns:
        What was measured at each C, and the out-of-fold probabilities at the best, float32 [n, classes present].
    """
    points: list[GridPoint] = []
    best = np.zeros((len(target), len(np.unique(target))), dtype=np.float32)
    if not folds:
        return points, best
    solvers = [_solver(grid[0], balanced, COARSE) for _ in folds]

    def solve(number: int, c: float) -> Matrix:
        train, test = folds[number]
        solvers[number].set_params(C=c).fit(scaled[train], target[train])
        return np.asarray(np.clip(solvers[number].predict_proba(scaled[test]), 1e-12, 1.0), dtype=np.float32)

    # a thread a fold, each with one BLAS thread: many small products gain nothing from more, and lose much when
    # other programs keep the cores busy
    phase = (progress or SilentProgress()).phase("Cross-validation", None)
    with _quiet(), threadpool_limits(1), ThreadPoolExecutor(cpu_count()) as pool, phase as advance:
        for c in grid:
            found = np.zeros_like(best)
            scores = []
            for (_, test), answer in zip(folds, pool.map(partial(solve, c=c), range(len(folds))), strict=True):
                found[test] = answer
                scores.append(_score(answer, np.searchsorted(solvers[0].classes_, target[test]), balanced))
                advance(1)
            loss, accuracy = np.mean(scores, axis=0)
            points.append(GridPoint(c, float(loss), float(accuracy)))
            lowest = min(range(len(points)), key=lambda i: points[i].log_loss)
            if lowest == len(points) - 1:
                best = found
            elif len(points) - 1 - lowest >= PATIENCE:
                break
    return points, best


def _solver(c: float, balanced: bool, tolerance: float):  # type: ignore[no-untyped-def]
    from sklearn.linear_model import LogisticRegression

    weight = "balanced" if balanced else None
    return LogisticRegression(C=c, class_weight=weight, tol=tolerance, max_iter=2000, warm_start=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings: an unfinished solution at one grid point is scored as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _score(probabilities: Matrix, column: NDArray[np.int64], balanced: bool) -> tuple[float, float]:
    """Mean log loss (mean of the classes' means, if balanced) and accuracy."""
    losses = -np.log(probabilities[np.arange(len(column)), column])
    parts = [losses[column == label].mean() for label in np.unique(column)] if balanced else losses
    return float(np.mean(parts)), float((probabilities.argmax(axis=1) == column).mean())


def _softmax_form(solver, classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # type: ignore[no-untyped-def]
    """Weights [classes, d] and bias [classes]; two classes come as one logit, half for each side."""
    weights, bias = np.asarray(solver.coef_, np.float64), np.asarray(solver.intercept_, np.float64)
    if len(solver.classes_) == 2:
        weights, bias = np.vstack([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])
    if len(solver.classes_) != classes:
        raise ValueError("every class needs a training image")
    return weights, bias
