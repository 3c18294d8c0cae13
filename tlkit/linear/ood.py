"""Whether an image is like those trained on, by the features of a network's last stages.

Three measures are added up, each in deviations of what held-out images of known classes give:

- the squared Mahalanobis distance to the nearest class, with one covariance for all classes (Lee et al. 2018, "A Simple
  Unified Framework for Detecting Out-of-Distribution Samples"), which finds images of another kind;
- that distance less the one to all classes together (Ren et al. 2021, "A Simple Fix to Mahalanobis Distance for
  Improving Near-OOD Detection"), which finds classes of the same kind that were not trained on;
- the cosine to the nearest class in the whitened space.

Which measures, the rank and the shrinkage were chosen by measurement; `benchmarks/trust.py` measures what is built.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.errors import TlkitError
from tlkit.linear.folds import make_folds
from tlkit.linear.head import Matrix, standardise
from tlkit.plan.choices import MAX_UNKNOWN_RATE

RANK = 128  # directions of the covariance that are kept; the rest counts as equal in all directions
SHRINK = 0.4  # share of the mean variance in it: it comes from few images for so many columns
MIN_VARIANCE = 1e-4  # mean variance of standardised columns: images of a class may all be alike
MAX_IMAGES = 2000  # images that it comes from at most
MIN_SCORES = 12  # scores of known images, below which a share of them means little
MIN_FREE = 8  # training images more than classes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OodStatistics:
    """What known images look like.

    Attributes:
        mean: float32 [d], of the training images' features.
        scale: float32 [d], what they are divided by.
        basis: float16 [r, d], the directions in which images of one class differ most.
        gain: float32 [r], by which these are shrunk, less `rest`.
        rest: float32 [], by which all directions are.
        centre: float32 [d], the whitened mean of all classes.
        classes: float16 [k, d], the whitened mean of each class less the centre.
        shares: float32 [k], of the classes among the training images.
        typical: float32 [2, 3], mean and deviation of the three measures on held-out images.
        scores: float32 [m], sums of the measures on those images, ascending; empty before `calibrated`.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    basis: NDArray[np.float16]
    gain: NDArray[np.float32]
    rest: NDArray[np.float32]
    centre: NDArray[np.float32]
    classes: NDArray[np.float16]
    shares: NDArray[np.float32]
    typical: NDArray[np.float32]
    scores: NDArray[np.float32]

    def measures(self, features: Matrix) -> Floats:
        """float32 [n, d] to the three measures, float64 [n, 3], larger where an image is less like the known ones."""
        classes = self.classes.astype(np.float64)
        white = _whitened((features - self.mean) / self.scale, self.basis, self.gain, self.rest) - self.centre
        lengths, sizes = (white**2).sum(axis=1), (classes**2).sum(axis=1)
        along = white @ classes.T
        nearest = (lengths[:, None] + sizes - 2 * along).min(axis=1)
        # all classes together: covariance 1 within them and theirs between them, inverted by Woodbury's identity
        inner = np.linalg.inv(np.diag(1 / self.shares.astype(np.float64)) + classes @ classes.T)
        together = lengths - np.einsum("ni,ij,nj->n", along, inner, along)
        cosine = (along / np.sqrt(np.maximum(lengths[:, None] * sizes, 1e-12))).max(axis=1)
        return np.stack([nearest, nearest - together, -cosine], axis=1)

    def unlike(self, features: Matrix) -> Floats:
        """float32 [n, d] to scores, float64 [n]: around 0 for known images, larger for others."""
        mean, deviation = self.typical.astype(np.float64)
        return np.asarray(((self.measures(features) - mean) / deviation).sum(axis=1))

    def calibrated(self, measures: Floats) -> OodStatistics:
        """The same with what known images give that it was not fitted on: float64 [m, 3], m at least 2."""
        mean, deviation = measures.mean(axis=0), np.maximum(measures.std(axis=0), 1e-6)
        scores = np.sort(((measures - mean) / deviation).sum(axis=1)).astype(np.float32)
        return replace(self, typical=np.stack([mean, deviation]).astype(np.float32), scores=scores)

    def threshold(self, rate: float) -> float:
        """The score above which an image is unknown, so that a share ``rate`` of known images lies above it.

        By rank, so that it holds for any distribution (Vovk et al. 2005, "Algorithmic Learning in a Random World"); a
        rate below one in their number cannot be told, and gives the largest score there was.

        Args:
            rate: 0..1; 0: infinity, nothing is unknown.
        """
        if rate == 0:
            return math.inf
        rank = math.ceil((len(self.scores) + 1) * (1 - rate))
        return float(self.scores[min(max(rank, 1), len(self.scores)) - 1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array by name, for ``np.savez``; `from_arrays` is the way back."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> OodStatistics:
        """Rebuild what `arrays` gave.

        Raises:
            KeyError: One is missing.
        """
        return cls(**{each.name: arrays[each.name] for each in fields(cls)})


def check_rate(rate: float) -> float:
    """``rate`` if it can be a share of false alarms.

    Raises:
        TlkitError: It is not within 0..`MAX_UNKNOWN_RATE`.
    """
    if not 0 <= rate <= MAX_UNKNOWN_RATE:
        raise TlkitError(f"--unknown-rate must be at least 0 and at most {MAX_UNKNOWN_RATE:g}, not {rate:g}")
    return rate


def fit_ood(features: Matrix, labels: Sequence[int], blocks: Sequence[int], seed: int = 0) -> OodStatistics | None:
    """What training images look like, not calibrated yet.

    Args:
        features: float32 [n, d].
        labels: Class of each row; any integers.
        blocks: Widths of the columns' blocks, each of a scale of its own.
        seed: Of the choice among more than `MAX_IMAGES` rows.

    Returns:
        None where images are too few, or there is a single class.
    """
    from sklearn.utils.extmath import randomized_svd

    found, target = np.unique(np.asarray(labels), return_inverse=True)
    if len(found) < 2 or len(target) < len(found) + MIN_FREE:
        return None
    chosen = _some(target, seed)
    target = target[chosen]
    rows, mean, scale = standardise(features[chosen], blocks)
    counts = np.bincount(target)
    means = np.stack([rows[target == number].mean(axis=0) for number in range(len(found))])
    inside = rows - means[target]
    width, free = inside.shape[1], len(inside) - len(found)
    total = (inside**2).sum() / free
    rank = min(RANK, free, width)
    _, lengths, basis = randomized_svd(inside, n_components=rank, random_state=seed)
    variances = lengths**2 / free
    others = max(0.0, total - variances.sum()) / max(1, width - rank)
    even = max(SHRINK * total / width + (1 - SHRINK) * others, MIN_VARIANCE)
    rest = 1 / np.sqrt(even)
    gain = 1 / np.sqrt(np.maximum(0.0, (1 - SHRINK) * (variances - others)) + even) - rest
    basis = basis.astype(np.float16)
    white = _whitened(means, basis, gain, rest)
    shares = counts / counts.sum()
    centre = shares @ white
    return OodStatistics(
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        basis=basis,
        gain=gain.astype(np.float32),
        rest=np.asarray(rest, dtype=np.float32),
        centre=centre.astype(np.float32),
        classes=(white - centre).astype(np.float16),
        shares=shares.astype(np.float32),
        typical=np.array([[0, 0, 0], [1, 1, 1]], dtype=np.float32),
        scores=np.zeros(0, dtype=np.float32),
    )


def measures_unseen(
    features: Matrix, labels: Sequence[int], groups: Sequence[int], blocks: Sequence[int], seed: int = 0
) -> Floats:
    """The measures of training images, each by a fit without it: float64 [m, 3], m up to n, by cross-validation.

    Args:
        features: float32 [n, d].
        labels: Class index of each row.
        groups: Rows of one group are never on both sides of a fold.
        blocks: As for `fit_ood`.
        seed: Of the folds.
    """
    target, found = np.asarray(labels, dtype=np.int64), [np.zeros((0, 3))]
    for train, test in make_folds(target, groups, seed):
        known = fit_ood(features[train], target[train].tolist(), blocks, seed)
        if known is not None:
            found.append(known.measures(features[test]))
    return np.concatenate(found)


def _some(target: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Rows to fit on: all, or `MAX_IMAGES` of them, of every class some."""
    order = np.random.default_rng(seed).permutation(len(target))
    if len(order) <= MAX_IMAGES:
        return np.sort(order)
    _, firsts = np.unique(target[order], return_index=True)
    others = np.delete(order, firsts)[: max(0, MAX_IMAGES - len(firsts))]
    return np.sort(np.concatenate([order[firsts], others]))


def _whitened(
    rows: NDArray[np.floating], basis: NDArray[np.float16], gain: NDArray[np.floating], rest: NDArray[np.floating]
) -> Floats:
    wide = basis.astype(np.float64)
    return np.asarray(((rows @ wide.T) * gain) @ wide + rows * rest)
