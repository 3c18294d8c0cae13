"""The closed form agrees with scikit-learn's ridge regression, however wide the features are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from tlkit.linear.ridge import ridge_scores


def problem(rows: int, width: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    features = rng.normal(size=(classes, width))[labels] + rng.normal(size=(rows, width)) + 3.0
    return features.astype(np.float32), labels.astype(np.int64), rng.normal(size=(7, width)).astype(np.float32)


@pytest.mark.parametrize(("rows", "width"), [(60, 8), (20, 50)])
@pytest.mark.parametrize("balanced", [False, True])
def test_it_is_ridge_regression_on_one_hot_targets(rows: int, width: int, balanced: bool) -> None:
    features, labels, tested = problem(rows, width, 3)
    features, labels = features[: rows - 7], labels[: rows - 7]
    labels[labels == 2] = np.where(np.arange((labels == 2).sum()) % 2, 2, 0)  # uneven classes
    counts = np.bincount(labels)
    weights = (len(labels) / (3 * counts))[labels] if balanced else np.ones(len(labels))
    answers = ridge_scores(features, labels, tested, (0.1, 10.0), balanced=balanced)
    for strength, found in zip((0.1, 10.0), answers, strict=True):
        mean = np.average(features, axis=0, weights=weights)
        scale = (weights[:, None] * (features - mean) ** 2).sum() / len(features)
        reference = Ridge(alpha=strength * scale).fit(features, np.eye(3)[labels], sample_weight=weights)
        np.testing.assert_allclose(found, reference.predict(tested), atol=1e-3)


def test_more_regularisation_comes_nearer_to_the_classes_shares() -> None:
    features, labels, tested = problem(90, 20, 3)
    apart = [float(np.abs(each - 1 / 3).max()) for each in ridge_scores(features, labels, tested, (0.01, 1.0, 1e4))]
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] < 1e-2


@given(rows=st.integers(4, 30), width=st.integers(1, 40), classes=st.integers(2, 4), scale=st.floats(1e-3, 1e3))
def test_answers_are_finite_and_do_not_depend_on_the_scale(rows: int, width: int, classes: int, scale: float) -> None:
    features, labels, tested = problem(rows, width, classes)
    one = ridge_scores(features, labels, tested, (0.3,))[0]
    other = ridge_scores(features * np.float32(scale), labels, tested * np.float32(scale), (0.3,))[0]
    assert np.isfinite(one).all()
    np.testing.assert_allclose(one, other, atol=1e-2)


def test_identical_images_get_the_classes_shares() -> None:
    answers = ridge_scores(
        np.ones((6, 4), np.float32), np.array([0, 0, 0, 0, 1, 1]), np.ones((1, 4), np.float32), (0.1,)
    )
    np.testing.assert_allclose(answers[0], [[2 / 3, 1 / 3]], atol=1e-6)


@pytest.mark.parametrize(("rows", "width"), [(3000, 400), (300, 900)])
def test_images_that_are_all_but_the_same_are_no_trouble_in_float32(rows: int, width: int) -> None:
    """All variance in one direction: the matrix is as near to singular as it can be."""
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 2
    features = np.outer(labels - 0.5, rng.normal(size=width)) + 1e-6 * rng.normal(size=(rows, width))
    answers = ridge_scores(features.astype(np.float32), labels, features[:40].astype(np.float32), (0.03,))[0]
    assert np.isfinite(answers).all()
    assert (answers.argmax(axis=1) == labels[:40]).all()
