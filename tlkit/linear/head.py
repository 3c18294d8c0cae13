"""The softmax head on frozen features: multinomial logistic regression, solved to convergence.

A linear head on fixed features is a convex problem, so it is solved (L-BFGS) rather than trained for some epochs.
Some linear probes in the literature do badly only because they were not trained to convergence. See Kornblith et al.
2019, "Do Better ImageNet Models Transfer Better?", for logistic regression on frozen features as a baseline.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tlkit.images.batches import cpu_count
from tlkit.linear.folds import Fold, folds_for, make_folds, thinned
from tlkit.linear.scaling import Scaled, deviations, moments, rotated, standardise
from tlkit.linear.streamed import solve_streamed
from tlkit.memory import in_words, usable_memory
from tlkit.progress import Progress, SilentProgress
from tlkit.store.disk_matrix import DiskMatrix, Vectors, in_parts

GRID = tuple(float(10.0**power) for power in np.arange(-5, 1.01, 0.5))  # C = 1 / (L2 strength)
FALLBACK = 1e-2  # C if a class is too small for cross-validation
MAX_SEARCH_ROWS = 5000  # rows used to compare values of C
PATIENCE = 2  # grid points without a lower loss before the search stops
LARGE = 5_000_000  # matrix elements; below this, one BLAS thread is as fast, and other programs do not slow it down
FINE, COARSE = 1e-5, 1e-4  # solver tolerances: for the final head, and for comparing values of C

ALWAYS = 256 << 20  # bytes; less always fits
COPIES = 4  # of a value for every row and class that the solver in memory holds, float32

MAX_SEARCHED = 64  # searches whose results are remembered

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class GridPoint:
    """Cross-validation result at one C (inverse L2 strength): mean log loss and accuracy over the folds."""

    c: float
    log_loss: float
    accuracy: float


_searched: dict[bytes, tuple[GridPoint, ...]] = {}


@dataclass(frozen=True)
class Head:
    """A solved softmax head on raw (unscaled) features.

    Attributes:
        kernel: float32 [features, classes].
        bias: float32 [classes].
        c: Inverse L2 strength, on standardised features.
        search: Cross-validation results; empty if cross-validation was not possible.
    """

    kernel: Matrix
    bias: NDArray[np.float32]
    c: float
    search: tuple[GridPoint, ...]

    def logits(self, features: Matrix) -> Matrix:
        """Return logits, float32 [n, classes], for features, float32 [n, features]."""
        return np.asarray(features @ self.kernel + self.bias, dtype=np.float32)

    def with_temperature(self, temperature: float) -> Head:
        """Return a copy of the head that divides its logits by a temperature."""
        return replace(self, kernel=self.kernel / np.float32(temperature), bias=self.bias / np.float32(temperature))

    def probabilities(self, features: Vectors) -> Matrix:
        """Return softmax probabilities, float32 [n, classes], rows sum to 1, for features, float32 [n, features]."""
        if isinstance(features, DiskMatrix):
            parts = [self.probabilities(rows) for _, rows in in_parts(features)]
            return np.concatenate([np.zeros((0, len(self.bias)), dtype=np.float32), *parts])
        logits = self.logits(features)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def solve_head(
    features: Vectors,
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
    """Solve the head at the L2 strength with the lowest cross-validated log loss.

    Features are standardised with the training images' statistics. The scaling is folded into the head, which therefore
    applies to raw features. Features on disk, or too many for the memory that is free, are solved in passes: the same
    head within the solver's tolerance.

    Args:
        features: float32 [n, d].
        labels: Class index of each row; every class has at least one row.
        classes: Number of classes.
        groups: Group of each row; a group (copies of one photo) is never on both sides of a fold.
        balanced: Weight classes by inverse frequency.
        blocks: Widths of the column blocks, which are scaled separately; empty: one block.
        seed: Random seed of the folds.
        c: Inverse L2 strength; None: choose it by cross-validation.
        progress: Progress reporter.
    """
    target = np.asarray(labels, dtype=np.int64)
    if isinstance(features, DiskMatrix) or not _fits(features, classes, None if c else progress):
        scaled = _lazily(features, blocks)
        search = [] if c is not None else _search_large(scaled, target, groups, balanced, seed, progress)
        c = c or _best(search)
        found = solve_streamed(scaled, target, classes, c, balanced=balanced, seed=seed, progress=progress)
        return Head(*found, c, tuple(search))
    standard, mean, deviation = standardise(features, blocks)
    search = _search(standard, labels, groups, balanced, seed, progress) if c is None else []
    c = c or _best(search)
    phase = (progress or SilentProgress()).phase("Solving the head", None)
    with phase, _quiet(), threadpool_limits(1 if standard.size < LARGE else None):
        solved = _solver(c, balanced, FINE)
        solved.fit(standard, target)
    weights, bias = _softmax_form(solved, classes)
    kernel = weights.T / deviation[:, None]
    return Head(
        kernel=np.asarray(kernel, dtype=np.float32),
        bias=np.asarray(bias - mean @ kernel, dtype=np.float32),
        c=c,
        search=tuple(search),
    )


def _fits(features: Matrix, classes: int, progress: Progress | None) -> bool:
    """Whether the head can be solved in memory; if not, say so."""
    rows, columns = features.shape
    needed = 4 * rows * (columns + COPIES * classes)
    if needed < ALWAYS or needed <= (free := usable_memory()):
        return True
    if progress is not None:
        progress.note(
            f"the head is solved in passes over the features: in memory it would take {in_words(needed)}, "
            f"and {in_words(free)} may be used"
        )
    return False


def _lazily(features: Vectors, blocks: Sequence[int]) -> Scaled:
    mean, variance = moments(features)
    return Scaled(features, mean, deviations(variance, blocks))


def _best(search: Sequence[GridPoint]) -> float:
    return min(search, key=lambda point: point.log_loss).c if search else FALLBACK


def _search_large(
    scaled: Scaled,
    target: NDArray[np.int64],
    groups: Sequence[int] | None,
    balanced: bool,
    seed: int,
    progress: Progress | None,
) -> list[GridPoint]:
    """Search as `_search` does, with only those rows in memory that its folds use."""
    folds = thinned(make_folds(target, groups, seed, folds_for(len(target))), target, seed, MAX_SEARCH_ROWS)
    if not folds:
        return []
    used = np.unique(np.concatenate([rows for fold in folds for rows in fold]))
    near = [(np.searchsorted(used, train), np.searchsorted(used, test)) for train, test in folds]
    return cross_validate(scaled.rows(used), target[used], near, balanced=balanced, progress=progress)[0]


def best_grid_point(
    features: Vectors,
    labels: Sequence[int],
    *,
    groups: Sequence[int] | None = None,
    balanced: bool = False,
    blocks: Sequence[int] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> GridPoint | None:
    """Return the cross-validation result at the best L2 strength, or None if cross-validation is not possible.

    The arguments are those of `solve_head`, which makes the same choice.
    """
    if isinstance(features, DiskMatrix):
        target = np.asarray(labels, dtype=np.int64)
        search = _search_large(_lazily(features, blocks), target, groups, balanced, seed, progress)
    else:
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
    """Cross-validate every L2 strength; what was searched before in this process is not searched again."""
    target = np.asarray(labels, dtype=np.int64)
    digest = hashlib.blake2b(np.ascontiguousarray(scaled).data)
    for part in (scaled.shape, target.tobytes(), None if groups is None else tuple(groups), balanced, seed):
        digest.update(repr(part).encode())
    key = digest.digest()
    if key not in _searched:
        folds = make_folds(target, groups, seed, folds_for(len(target)))
        compact, thin = rotated(scaled)[0], thinned(folds, target, seed, MAX_SEARCH_ROWS)
        found = cross_validate(compact, target, thin, balanced=balanced, progress=progress)[0]
        if len(_searched) >= MAX_SEARCHED:
            del _searched[next(iter(_searched))]
        _searched[key] = tuple(found)
    return list(_searched[key])


def cross_validate(
    scaled: Matrix,
    target: NDArray[np.int64],
    folds: list[Fold],
    *,
    grid: Sequence[float] = GRID,
    balanced: bool = False,
    progress: Progress | None = None,
) -> tuple[list[GridPoint], Matrix]:
    """Search the grid of C from strong to weak regularisation until the loss rises, warm-starting each solution.

    Args:
        scaled: Standardised features, float32 [n, d].
        target: Class indices, int64 [n].
        folds: From `make_folds`; without folds the result is empty.
        grid: Values of C, ascending.
        balanced: Weight classes by inverse frequency.
        progress: Progress reporter.

    Returns:
        The result at each C, and the out-of-fold probabilities at the best C, float32 [n, classes present].
    """
    points: list[GridPoint] = []
    best = np.zeros((len(target), len(np.unique(target))), dtype=np.float32)
    if not folds:
        return points, best
    solvers: list[Any] = []

    def solve(number: int, c: float) -> Matrix:
        train, test = folds[number]
        solvers[number].set_params(C=c).fit(scaled[train], target[train])
        return np.asarray(np.clip(solvers[number].predict_proba(scaled[test]), 1e-12, 1.0), dtype=np.float32)

    # one thread per fold, each with one BLAS thread: small matrix products gain nothing from more threads, and lose
    # much when other programs keep the cores busy
    phase = (progress or SilentProgress()).phase("Cross-validation", None)
    with phase as advance, _quiet(), threadpool_limits(1), ThreadPoolExecutor(cpu_count()) as pool:
        solvers += [_solver(grid[0], balanced, COARSE) for _ in folds]
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
    """Suppress convergence warnings: a solution that has not converged is scored as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _score(probabilities: Matrix, column: NDArray[np.int64], balanced: bool) -> tuple[float, float]:
    """Return mean log loss (if balanced, the mean of the class means) and accuracy."""
    losses = -np.log(probabilities[np.arange(len(column)), column])
    parts = [losses[column == label].mean() for label in np.unique(column)] if balanced else losses
    return float(np.mean(parts)), float((probabilities.argmax(axis=1) == column).mean())


def _softmax_form(solver, classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # type: ignore[no-untyped-def]
    """Return weights [classes, d] and bias [classes]; with two classes, split scikit-learn's single logit evenly."""
    weights, bias = np.asarray(solver.coef_, np.float64), np.asarray(solver.intercept_, np.float64)
    if len(solver.classes_) == 2:
        weights, bias = np.vstack([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])
    if len(solver.classes_) != classes:
        raise ValueError("every class needs a training image")
    return weights, bias
