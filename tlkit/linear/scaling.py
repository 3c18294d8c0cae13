"""Scale features so that every column counts alike, with a lower bound for those that hardly vary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlkit.store.disk_matrix import Vectors, in_parts, part_of

FLOOR = 1.0  # share of a block's mean variance added to the variance of each column

Matrix = NDArray[np.float32]
Floats = NDArray[np.float64]


def standardise(
    features: Matrix, blocks: Sequence[int] = ()
) -> tuple[Matrix, NDArray[np.float64], NDArray[np.float64]]:
    """Standardise features, with a lower bound on the deviations.

    `FLOOR` times the mean variance of its block is added to the variance of each column. On few images some channels
    hardly vary. Dividing by their own deviation would make them dominate on other images
    (``benchmarks/head_scaling.py``).

    Args:
        features: float32 [n, d].
        blocks: Widths of the column blocks, which add up to d; empty: one block.

    Returns:
        Standardised features, float32 [n, d]; mean, float64 [d]; deviation, float64 [d].
    """
    mean = features.mean(axis=0, dtype=np.float64)
    scaled = features - mean.astype(np.float32)  # modified in place from here on: it may take most of the memory
    variance = np.einsum("ij,ij->j", scaled, scaled, dtype=np.float64) / len(scaled)
    deviation = deviations(variance, blocks)
    scaled /= deviation.astype(np.float32)
    return scaled, mean, deviation


def rotated(scaled: Matrix) -> tuple[Matrix, NDArray[np.float64] | None]:
    """Rotate features so that there are no more columns than rows; with as many rows or more, they stay as they are.

    The rows span at most as many dimensions as there are rows, and neither their inner products nor the L2 penalty
    change with a rotation, so that the solution is the same, in a fraction of the time.

    Args:
        scaled: Standardised features, float32 [n, d].

    Returns:
        Rotated features, float32 [n, min(n, d)]; the basis, float64 [d, n], which turns weights back, or None.
    """
    if len(scaled) >= scaled.shape[1]:
        return scaled, None
    basis, triangle = np.linalg.qr(scaled.T.astype(np.float64))
    return np.ascontiguousarray(triangle.T, dtype=np.float32), basis


def deviations(variance: Floats, blocks: Sequence[int] = ()) -> Floats:
    """Return what `standardise` divides columns by, float64 [d], from their variance, float64 [d]."""
    parts = np.split(variance, np.cumsum(blocks)[:-1]) if blocks else [variance]
    deviation = np.sqrt(np.concatenate([part + FLOOR * part.mean() for part in parts]))
    deviation[deviation < 1e-6] = 1.0
    return np.asarray(deviation)


class Scaled:
    """Features with mean 0 and unit deviation, scaled a few rows at a time.

    Args:
        features: float32 [n, d].
        mean: float64 [d].
        deviation: float64 [d].
    """

    def __init__(self, features: Vectors, mean: Floats, deviation: Floats) -> None:
        self.features, self.mean, self.deviation = features, mean, deviation
        self._mean, self._deviation = mean.astype(np.float32), deviation.astype(np.float32)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.features.shape[1])

    def rows(self, chosen: Sequence[int] | NDArray[np.int64] | slice) -> Matrix:
        """Return some rows, float32 [m, d]."""
        found = self.features[chosen] - self._mean
        found /= self._deviation
        return found

    def part(self, chosen: NDArray[np.int64]) -> Scaled:
        """Return some rows, to be read later."""
        return Scaled(part_of(self.features, chosen), self.mean, self.deviation)


def moments(features: Vectors) -> tuple[Floats, Floats]:
    """Return the mean and the variance of each column, float64 [d], in two passes."""
    count, columns = features.shape
    mean, variance = np.zeros(columns), np.zeros(columns)
    for _, rows in in_parts(features):
        mean += rows.sum(axis=0, dtype=np.float64)
    mean /= count
    single = mean.astype(np.float32)
    for _, rows in in_parts(features):
        centred = rows - single
        variance += np.einsum("ij,ij->j", centred, centred, dtype=np.float64)
    return mean, variance / count
