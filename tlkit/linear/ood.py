"""Out-of-distribution (OOD) detection on the features of a network's last stages.

The score is the sum of three measures, each standardised on held-out images of the trained classes:

- the squared Mahalanobis distance to the nearest class, with a covariance shared by all classes (Lee et al. 2018, "A
  Simple Unified Framework for Detecting Out-of-Distribution Samples"), which finds images of a different kind;
- that distance minus the distance to all classes together (Ren et al. 2021, "A Simple Fix to Mahalanobis Distance for
  Improving Near-OOD Detection"), which finds untrained classes of the same kind;
- the negative cosine similarity to the nearest class in the whitened space.

The measures, the rank and the shrinkage were chosen by measurement; `benchmarks/trust.py` evaluates the result.
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
from tlkit.linear.head import Matrix
from tlkit.linear.scaling import standardise
from tlkit.plan.choices import MAX_UNKNOWN_RATE
from tlkit.store.disk_matrix import DiskMatrix, Vectors, in_parts, part_of

RANK = 128  # leading directions of the covariance; all others share one variance
SHRINK = 0.4  # share of the mean variance in the covariance: there are few images for so many columns
MIN_VARIANCE = 1e-4  # of a standardised column: all images of a class may be identical
MAX_IMAGES = 2000  # used to fit the covariance
MIN_SCORES = 12  # held-out scores; a quantile of fewer means little
MIN_FREE = 8  # degrees of freedom: training images minus classes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OodStatistics:
    """Out-of-distribution statistics of a network.

    Attributes:
        mean: float32 [d], mean of the training images' features.
        scale: float32 [d], divisor of the centred features.
        basis: float16 [r, d], leading directions of the within-class covariance.
        gain: float32 [r], whitening factors along the basis, minus `rest`.
        rest: float32 [], whitening factor of all other directions.
        centre: float32 [d], weighted mean of the whitened class means.
        classes: float16 [k, d], whitened class means minus the centre.
        shares: float32 [k], share of each class among the training images.
        typical: float32 [2, 3], mean and deviation of the three measures on held-out images.
        scores: float32 [m], scores of the held-out images, ascending; empty before `calibrated`.
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

    def measures(self, features: Vectors) -> Floats:
        """Return the three measures, float64 [n, 3], of features, float32 [n, d]; larger means less like training."""
        if isinstance(features, DiskMatrix):
            return np.concatenate([np.zeros((0, 3)), *(self.measures(rows) for _, rows in in_parts(features))])
        classes = self.classes.astype(np.float64)
        white = _whitened((features - self.mean) / self.scale, self.basis, self.gain, self.rest) - self.centre
        lengths, sizes = (white**2).sum(axis=1), (classes**2).sum(axis=1)
        along = white @ classes.T
        nearest = (lengths[:, None] + sizes - 2 * along).min(axis=1)
        # all classes together: unit covariance within plus covariance between classes, inverted by Woodbury's identity
        inner = np.linalg.inv(np.diag(1 / self.shares.astype(np.float64)) + classes @ classes.T)
        together = lengths - np.einsum("ni,ij,nj->n", along, inner, along)
        cosine = (along / np.sqrt(np.maximum(lengths[:, None] * sizes, 1e-12))).max(axis=1)
        return np.stack([nearest, nearest - together, -cosine], axis=1)

    def score(self, features: Matrix) -> Floats:
        """Return OOD scores, float64 [n], of features, float32 [n, d]: around 0 in distribution, larger outside."""
        mean, deviation = self.typical.astype(np.float64)
        return np.asarray(((self.measures(features) - mean) / deviation).sum(axis=1))

    def calibrated(self, measures: Floats) -> OodStatistics:
        """Return a copy calibrated on the measures of held-out images, float64 [m, 3], m at least 2."""
        mean, deviation = measures.mean(axis=0), np.maximum(measures.std(axis=0), 1e-6)
        scores = np.sort(((measures - mean) / deviation).sum(axis=1)).astype(np.float32)
        return replace(self, typical=np.stack([mean, deviation]).astype(np.float32), scores=scores)

    def threshold(self, rate: float) -> float:
        """Return the score above which an image is called unknown.

        It is a quantile of the held-out scores, so it holds for any distribution (Vovk et al. 2005, "Algorithmic
        Learning in a Random World"). A rate below 1 / number of scores gives the largest score.

        Args:
            rate: Share of images of the trained classes that are called unknown, 0..1. With 0 the threshold is
                infinite: nothing is unknown.
        """
        if rate == 0:
            return math.inf
        rank = math.ceil((len(self.scores) + 1) * (1 - rate))
        return float(self.scores[min(max(rank, 1), len(self.scores)) - 1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by name, for ``np.savez``; `from_arrays` is the inverse."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> OodStatistics:
        """Rebuild the statistics from `arrays`, which may come from a stranger.

        Raises:
            KeyError: An array is missing.
            ValueError: An array's type or shape does not fit, or its values are no statistics.
        """
        found = cls(**{each.name: arrays[each.name] for each in fields(cls)})
        found._check()
        return found

    def _check(self) -> None:
        half, single = np.dtype(np.float16), np.dtype(np.float32)
        (width,), rank, known = self.mean.shape[:1] or (0,), len(self.basis.ravel()), len(self.shares.ravel())
        rank = rank // width if width else 0
        wanted: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            "mean": (single, (width,)),
            "scale": (single, (width,)),
            "basis": (half, (rank, width)),
            "gain": (single, (rank,)),
            "rest": (single, ()),
            "centre": (single, (width,)),
            "classes": (half, (known, width)),
            "shares": (single, (known,)),
            "typical": (single, (2, 3)),
            "scores": (single, self.scores.shape[:1] or (0,)),
        }
        for name, (kind, shape) in wanted.items():
            array = getattr(self, name)
            if array.dtype != kind or array.shape != shape:
                raise ValueError(f"{name} must be {kind} {list(shape)}, not {array.dtype} {list(array.shape)}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} has values that are not finite")
        if not width or not rank or not known or not len(self.scores):
            raise ValueError("there are no statistics in it")
        positive = (self.scale > 0).all() and (self.shares > 0).all() and (self.typical[1] > 0).all()
        if not positive or (np.diff(self.scores) < 0).any():
            raise ValueError("its values are no statistics of features")


def check_rate(rate: float) -> float:
    """Return ``rate`` if it is a valid false-alarm rate.

    Raises:
        TlkitError: The rate is not within 0..`MAX_UNKNOWN_RATE`.
    """
    if not 0 <= rate <= MAX_UNKNOWN_RATE:
        raise TlkitError(f"--unknown-rate must be at least 0 and at most {MAX_UNKNOWN_RATE:g}, not {rate:g}")
    return rate


def fit_ood(features: Vectors, labels: Sequence[int], blocks: Sequence[int], seed: int = 0) -> OodStatistics | None:
    """Fit OOD statistics to training images; they still have to be calibrated.

    Args:
        features: float32 [n, d].
        labels: Class of each row; any integers.
        blocks: Widths of the column blocks, which are scaled separately.
        seed: Random seed for sampling `MAX_IMAGES` of more rows.

    Returns:
        The statistics, or None if there are too few images or only one class.
    """
    from sklearn.utils.extmath import randomized_svd

    found, target = np.unique(np.asarray(labels), return_inverse=True)
    if len(found) < 2 or len(target) < len(found) + MIN_FREE:
        return None
    chosen = _sample(target, seed)
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


def cross_validated_measures(
    features: Vectors, labels: Sequence[int], groups: Sequence[int], blocks: Sequence[int], seed: int = 0
) -> Floats:
    """Return out-of-fold measures of training images, float64 [m, 3], m at most n.

    Args:
        features: float32 [n, d].
        labels: Class index of each row.
        groups: Group of each row; a group is never on both sides of a fold.
        blocks: As for `fit_ood`.
        seed: Random seed of the folds.
    """
    target, found = np.asarray(labels, dtype=np.int64), [np.zeros((0, 3))]
    for train, test in make_folds(target, groups, seed):
        known = fit_ood(part_of(features, train), target[train].tolist(), blocks, seed)
        if known is not None:
            found.append(known.measures(part_of(features, test)))
    return np.concatenate(found)


def _sample(target: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the rows to fit on: all, or `MAX_IMAGES` random ones that include every class."""
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
