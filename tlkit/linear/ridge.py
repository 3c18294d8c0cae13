"""Closed-form ridge classifiers: probes that take a fraction of the time of a softmax head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def ridge_scores(
    features: Array, labels: NDArray[np.int64], tested: Array, strengths: Sequence[float], *, balanced: bool = False
) -> list[Array]:
    """Fit one-hot targets by ridge regression and score other images.

    Least squares is about as accurate as logistic regression for classification (Rifkin & Klautau 2004, "In Defense of
    One-Vs-All Classification"), and one decomposition serves all classes.

    Args:
        features: Training features, standardised, float32 [n, d].
        labels: Class indices, int64 [n], 0 to classes - 1, all present.
        tested: Features to score, float32 [m, d].
        strengths: L2 strengths to try, as a share of the features' mean total variance.
        balanced: Weight classes by inverse frequency.

    Returns:
        Scores for each strength, float32 [m, classes]; the predicted class has the highest score.
    """
    from scipy.linalg import cho_factor, cho_solve

    counts = np.bincount(labels)
    weights = (len(labels) / (len(counts) * counts))[labels] if balanced else np.ones(len(labels))
    target = np.eye(len(counts), dtype=np.float32)[labels]
    mean = np.average(features, axis=0, weights=weights).astype(np.float32)
    prior = np.average(target, axis=0, weights=weights).astype(np.float32)
    root = np.sqrt(weights)[:, None].astype(np.float32)
    x, y = root * (features - mean), root * (target - prior)
    other = tested - mean
    wide = x.shape[1] > len(x)
    # float32 takes half the time and is enough: even the lowest strength keeps the matrix far from singular
    gram = x @ x.T if wide else x.T @ x
    scale = max(1e-12, float(np.trace(gram)) / len(x))
    right = y if wide else x.T @ y
    scores = []
    for strength in strengths:
        damped = gram.copy()
        damped[np.diag_indices_from(damped)] += np.float32(strength * scale)
        # LAPACK wants column-major order; the matrix is symmetric, so transposing it avoids a copy
        factor = cho_factor(damped.T, overwrite_a=True, check_finite=False)
        solved = cho_solve(factor, right, check_finite=False)
        kernel = x.T @ solved if wide else solved
        scores.append(np.asarray(other @ kernel + prior, dtype=np.float32))
    return scores
