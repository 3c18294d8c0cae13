"""Which unlabelled images to label next, by their features: three ways that can be compared with a random draw.

- ``margin``: where the two most probable classes are closest (Scheffer et al. 2001).
- ``diverse``: unsure images that differ from each other, by k-means++ on the gradients that their most probable label
  would cause in the head (BADGE; Ash et al. 2020, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
  Bounds").
- ``typical``: the most typical image of each large cluster that has no label yet (TypiClust; Hacohen et al. 2022,
  "Active Learning on a Budget"), for few labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlkit.linear.folds import folds_for, make_folds
from tlkit.linear.head import FALLBACK, Matrix, cross_validate
from tlkit.linear.scaling import standardise

MARGIN, DIVERSE, TYPICAL, RANDOM = "margin", "diverse", "typical", "random"
WAYS = (MARGIN, DIVERSE, TYPICAL)
MAX_COLUMNS = 128  # leading directions of the features: enough to compare images, at a tenth of the time
MAX_CLUSTERS = 500
NEIGHBOURS = 20  # of an image within its cluster, by which it is typical
MAX_CLUSTERED = 20_000  # images that are clustered; of more, a random part

Floats = NDArray[np.float64]


def compact(features: Matrix, blocks: Sequence[int] = ()) -> Matrix:
    """Return standardised features in few columns, float32 [n, at most `MAX_COLUMNS`], by principal components.

    Args:
        features: float32 [n, d].
        blocks: Widths of the column blocks, as for `tlkit.linear.head.solve_head`.
    """
    scaled, _, _ = standardise(features, blocks)
    if scaled.shape[1] <= MAX_COLUMNS:
        return scaled
    wide = len(scaled) < scaled.shape[1]
    gram = (scaled @ scaled.T if wide else scaled.T @ scaled).astype(np.float64)
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:MAX_COLUMNS], vectors[:, ::-1][:, :MAX_COLUMNS]
    if wide:
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0)), dtype=np.float32)
    return np.asarray(scaled @ vectors.astype(np.float32), dtype=np.float32)


def probabilities_of(rows: Matrix, labels: NDArray[np.int64], others: Matrix, classes: int, c: float) -> Floats:
    """Solve a head on some images and return its probabilities of others, float64 [m, classes].

    Args:
        rows: From `compact`, float32 [n, d].
        labels: Class index of each row; classes without a row get the probability 0.
        others: float32 [m, d].
        classes: Number of classes.
        c: Inverse L2 strength.
    """
    from sklearn.linear_model import LogisticRegression

    found = np.zeros((len(others), classes))
    present = np.unique(labels)
    if len(present) == 1:
        found[:, present] = 1.0
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solved = LogisticRegression(C=c, tol=1e-3, max_iter=300).fit(rows, labels)
    found[:, present] = solved.predict_proba(others)
    return found


def choose(
    way: str,
    rows: Matrix,
    labelled: Sequence[int],
    pool: Sequence[int],
    probabilities: Floats,
    count: int,
    rng: np.random.Generator,
) -> list[int]:
    """Return the images to label next, the most useful first.

    Args:
        way: One of `WAYS`, or ``random``.
        rows: From `compact`, of labelled and unlabelled images, float32 [n, d].
        labelled: Rows that have a label.
        pool: Rows to choose from.
        probabilities: Of the rows of ``pool``, float64 [m, classes].
        count: Number of images to choose.
        rng: Random numbers.

    Returns:
        At most ``count`` rows of ``pool``, each once.
    """
    count = min(count, len(pool))
    if way == MARGIN:
        order = np.argsort(margins(probabilities), kind="stable")[:count]
    elif way == DIVERSE:
        order = _diverse(rows[list(pool)], probabilities, count, rng)
    elif way == TYPICAL:
        return _typical(rows, labelled, pool, count, rng)
    else:
        order = rng.permutation(len(pool))[:count]
    return [pool[place] for place in order]


def margins(probabilities: Floats) -> Floats:
    """Return how far the second most probable class is behind the first, float64 [n], 0..1; small: unsure."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities))
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])


def _diverse(rows: Matrix, probabilities: Floats, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw by k-means++ among gradients, which are products of errors and features and are never written out."""
    errors = probabilities.copy()
    errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1.0
    features = np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1).astype(np.float64)
    norms = (errors**2).sum(axis=1) * (features**2).sum(axis=1)
    chosen = [int(norms.argmax())]
    nearest = np.full(len(rows), np.inf)
    while len(chosen) < count:
        last = chosen[-1]
        inner = (errors @ errors[last]) * (features @ features[last])
        nearest = np.minimum(nearest, np.maximum(norms + norms[last] - 2 * inner, 0.0))
        nearest[chosen] = 0.0
        total = nearest.sum()
        if total <= 0:  # the rest are copies of those chosen
            left = np.setdiff1d(np.arange(len(rows)), chosen)
            chosen += rng.permutation(left)[: count - len(chosen)].tolist()
            break
        chosen.append(int(rng.choice(len(rows), p=nearest / total)))
    return np.asarray(chosen, dtype=np.int64)


def _typical(
    rows: Matrix, labelled: Sequence[int], pool: Sequence[int], count: int, rng: np.random.Generator
) -> list[int]:
    """Take the most typical image of the largest cluster with the fewest labels, again and again."""
    if len(pool) > MAX_CLUSTERED:
        pool = [pool[place] for place in rng.permutation(len(pool))[:MAX_CLUSTERED]]
    every = [*labelled, *pool]
    unit = rows[every] / np.maximum(np.linalg.norm(rows[every], axis=1, keepdims=True), 1e-12)
    cluster = _clusters(unit, min(len(labelled) + count, MAX_CLUSTERS, len(every)), rng)
    number = int(cluster.max()) + 1
    taken = np.bincount(cluster[: len(labelled)], minlength=number)
    sizes = np.bincount(cluster, minlength=number)
    members: dict[int, list[int]] = {}
    chosen: list[int] = []
    while len(chosen) < count:
        best = min(
            (each for each in range(number) if members.get(each) is None or members[each]),
            key=lambda each: (taken[each], -sizes[each]),
        )
        if best not in members:
            inside = np.flatnonzero(cluster == best)
            order = _by_typicality(unit[inside])
            members[best] = [int(inside[place]) for place in order if inside[place] >= len(labelled)]
            continue
        chosen.append(every[members[best].pop(0)])
        taken[best] += 1
    return chosen


def _clusters(unit: Matrix, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    kind = KMeans if len(unit) <= 2000 else MiniBatchKMeans
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = kind(count, n_init=1, max_iter=30, random_state=int(rng.integers(2**31)))
        return np.asarray(made.fit_predict(unit), dtype=np.int64)


def _by_typicality(unit: Matrix) -> NDArray[np.int64]:
    """Return the places of images of one cluster, the most typical first: small mean distance to its neighbours."""
    near = np.sort(1.0 - unit @ unit.T, axis=1)[:, 1 : NEIGHBOURS + 1]
    return np.argsort(near.mean(axis=1) if near.shape[1] else np.zeros(len(unit)), kind="stable")


def strength_of(rows: Matrix, labels: Sequence[int], groups: Sequence[int], seed: int = 0) -> float:
    """Return the inverse L2 strength with the lowest log loss in cross-validation on labelled images.

    Args:
        rows: From `compact`, of the labelled images.
        labels: Class index of each row.
        groups: Group of each row; copies share one.
        seed: Random seed of the folds.
    """
    target = np.asarray(labels, dtype=np.int64)
    folds = make_folds(target, groups, seed, folds_for(len(target)))
    points, _ = cross_validate(rows, target, folds)
    return min(points, key=lambda point: point.log_loss).c if points else FALLBACK
