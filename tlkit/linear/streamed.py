"""The softmax head for more images than fit in memory: the same optimum, found in passes over the features.

Every pass computes the exact loss and gradient of multinomial logistic regression from a few thousand rows at a time.
L-BFGS needs few passes, because it works on features that one exact Gram matrix has made uncorrelated: half of the
Gram matrix bounds the curvature (Boehning 1992, "Multinomial logistic regression algorithm").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from tlkit.linear.scaling import Scaled
from tlkit.progress import Progress, SilentProgress
from tlkit.store.disk_matrix import TOGETHER

Floats = NDArray[np.float64]
Single = NDArray[np.float32]

FIRST_SHARE, FEWEST_FIRST = 8, 20_000  # solved first: every eighth row, but at least so many
TOLERANCE = 1e-7  # relative decrease of the loss at which the last solution ends
COARSE = 1e-5  # and at which the first one does, from which the last one starts
MAX_PASSES = 500
MEMORY = 10  # steps that L-BFGS remembers


def solve_streamed(
    scaled: Scaled,
    target: NDArray[np.int64],
    classes: int,
    c: float,
    *,
    balanced: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Single, Single]:
    """Solve the head; with two classes as scikit-learn does, which penalises one logit.

    Memory: d x (d + about 30 x classes) numbers, whatever the number of rows.

    Args:
        scaled: Features.
        target: Class index of each row, int64 [n].
        classes: Number of classes, each with at least one row.
        c: Inverse L2 strength, on the sum of the losses.
        balanced: Weight classes by inverse frequency.
        seed: Random seed of the rows that are solved first.
        progress: Progress reporter.

    Returns:
        Weights, float32 [d, classes], and bias, float32 [classes], of features that are not scaled.
    """
    counts = np.bincount(target, minlength=classes)
    if not counts.all():
        raise ValueError("every class needs a training image")
    weights = len(target) / (classes * counts) if balanced else np.ones(classes)
    strength = (2.0 if classes == 2 else 1.0) / (c * len(target))
    start = np.zeros((scaled.columns + 1, classes))
    few = max(FEWEST_FIRST, len(target) // FIRST_SHARE)
    phase = (progress or SilentProgress()).phase("Solving the head in passes over the features", None)
    with phase as advance:
        if few < len(target) // 2:
            some = np.sort(np.random.default_rng(seed).permutation(len(target))[:few])
            problem = _Problem(scaled.part(some), target[some], weights, strength, lambda: advance(1))
            start = problem.solve(start, COARSE)
        found = _Problem(scaled, target, weights, strength, lambda: advance(1)).solve(start, TOLERANCE)
    kernel = found[:-1] / scaled.deviation[:, None]
    bias = found[-1] - found[-1].mean() - scaled.mean @ kernel
    return kernel.astype(np.float32), bias.astype(np.float32)


class _Problem:
    """Loss and gradient of the head on some rows."""

    def __init__(
        self, scaled: Scaled, target: NDArray[np.int64], weights: Floats, strength: float, passed: Callable[[], None]
    ) -> None:
        self._scaled, self._target, self._weights = scaled, target, weights.astype(np.float32)
        self._strength, self._passed = strength, passed
        self._total = float(weights[target].sum())
        self._root = self._curvature()

    def solve(self, start: Floats, tolerance: float) -> Floats:
        """Minimise from weights and bias, float64 [d + 1, classes]."""
        from scipy.optimize import minimize

        shape = start.shape
        first = start.copy()
        first[:-1] = self._root.T @ start[:-1]

        def pass_over(flat: Floats) -> tuple[float, Floats]:
            loss, slope = self._loss(self._back(flat.reshape(shape)))
            slope[:-1] = self._divided(slope[:-1], transposed=False)
            self._passed()
            return loss, slope.ravel()

        options = {"maxcor": MEMORY, "maxiter": MAX_PASSES, "maxfun": MAX_PASSES, "ftol": tolerance, "gtol": 1e-9}
        found = minimize(pass_over, first.ravel(), jac=True, method="L-BFGS-B", options=options)
        best: Floats = np.asarray(found.x, dtype=np.float64).reshape(shape)
        return self._back(best)

    def _curvature(self) -> Floats:
        """The lower Cholesky factor of the Gram matrix of all rows and the penalty, float64 [d, d]."""
        gram = np.zeros((self._scaled.columns, self._scaled.columns))
        for its, rows in self._parts():
            share = self._weights[self._target[its]][:, None]
            gram += (rows * share).T @ rows
        gram /= self._total
        gram[np.diag_indices_from(gram)] += self._strength
        return np.asarray(np.linalg.cholesky(gram))

    def _back(self, solution: Floats) -> Floats:
        """From what L-BFGS changes to weights of the scaled features."""
        weights: Floats = solution.copy()
        weights[:-1] = self._divided(solution[:-1], transposed=True)
        return weights

    def _divided(self, right: Floats, *, transposed: bool) -> Floats:
        from scipy.linalg import solve_triangular

        solved = solve_triangular(self._root, right, lower=True, trans=1 if transposed else 0, check_finite=False)
        return np.asarray(solved)

    def _loss(self, solution: Floats) -> tuple[float, Floats]:
        """One pass: mean loss with the penalty, and its gradient, float64 [d + 1, classes]."""
        kernel, bias = solution[:-1].astype(np.float32), solution[-1].astype(np.float32)
        slope, loss = np.zeros_like(solution), 0.0
        for its, rows in self._parts():
            labels = self._target[its]
            places, share = np.arange(len(labels)), self._weights[labels]
            powers = rows @ kernel
            powers += bias
            powers -= powers.max(axis=1, keepdims=True)
            own = powers[places, labels]
            np.exp(powers, out=powers)
            sums = powers.sum(axis=1)
            loss += float((share * (np.log(sums) - own)).sum(dtype=np.float64))
            powers *= (share / sums)[:, None]
            powers[places, labels] -= share
            slope[:-1] += rows.T @ powers
            slope[-1] += powers.sum(axis=0, dtype=np.float64)
        slope /= self._total
        slope[:-1] += self._strength * solution[:-1]
        return loss / self._total + self._strength / 2 * float((solution[:-1] ** 2).sum()), slope

    def _parts(self) -> Iterator[tuple[slice, Single]]:
        for start in range(0, len(self._target), TOGETHER):
            its = slice(start, start + TOGETHER)
            yield its, self._scaled.rows(its)
