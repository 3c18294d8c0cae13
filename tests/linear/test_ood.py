"""Images unlike those trained on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.errors import TlkitError
from tlkit.linear import ood as module
from tlkit.linear.ood import OodStatistics, check_rate, cross_validated_measures, fit_ood

WIDTHS = [6, 18]


def clusters(count: int, classes: int, seed: int) -> tuple[np.ndarray, list[int]]:
    """Images around class means that do not depend on the seed, longer along some directions."""
    mix, means = np.random.default_rng(1).normal(size=(24, 24)), 4 * np.random.default_rng(2).normal(size=(9, 24))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return (means[labels] + rng.normal(size=(count, 24)) @ mix / 4).astype(np.float32), labels.tolist()


def fitted(count: int = 300, classes: int = 5, seed: int = 0) -> OodStatistics:
    features, labels = clusters(count, classes, seed)
    known = fit_ood(features, labels, WIDTHS)
    assert known is not None
    return known.calibrated(known.measures(clusters(200, classes, 77)[0]))


def test_measures_are_the_mahalanobis_distances_of_the_papers() -> None:
    features, labels = clusters(300, 5, 0)
    known = fit_ood(features, labels, WIDTHS)
    assert known is not None
    rows = (features.astype(np.float64) - known.mean) / known.scale
    target = np.asarray(labels)
    means = np.stack([rows[target == number].mean(axis=0) for number in range(5)])
    inside = rows - means[target]
    plain = inside.T @ inside / (300 - 5)
    covariance = (1 - module.SHRINK) * plain + module.SHRINK * np.trace(plain) / 24 * np.eye(24)
    shares = np.bincount(target) / 300
    spread = means - shares @ means
    together = covariance + (spread * shares[:, None]).T @ spread
    fresh = clusters(20, 9, 5)[0]
    away = (fresh - known.mean) / known.scale
    distances = [[(row - mean) @ np.linalg.solve(covariance, row - mean) for mean in means] for row in away]
    nearest = np.min(distances, axis=1)
    centred = away - shares @ means
    background = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(together), centred)
    found = known.measures(fresh)
    np.testing.assert_allclose(found[:, 0], nearest, rtol=0.02)
    np.testing.assert_allclose(found[:, 1], nearest - background, rtol=0.02, atol=0.5)
    assert (np.abs(found[:, 2]) <= 1.001).all()


def test_a_class_that_was_not_trained_on_is_told_and_known_ones_are_not() -> None:
    known = fitted()
    limit = known.threshold(0.05)
    rows, labels = clusters(2000, 9, 3)
    strange = np.asarray(labels) >= 5
    marked = known.score(rows) > limit
    assert marked[strange].mean() > 0.9
    assert 0.02 < marked[~strange].mean() < 0.10


@given(rate=st.floats(0.02, 0.5), seed=st.integers(0, 50))
def test_false_alarms_come_at_the_rate_asked_for(rate: float, seed: int) -> None:
    features, labels = clusters(120, 4, seed)
    known = fit_ood(features, labels, WIDTHS)
    assert known is not None
    known = known.calibrated(known.measures(clusters(1000, 4, seed + 100)[0]))
    marked = (known.score(clusters(2000, 4, seed + 200)[0]) > known.threshold(rate)).mean()
    assert abs(marked - rate) < 0.05


def test_cross_validation_scores_training_images_as_if_new() -> None:
    features, labels = clusters(150, 5, 0)
    known = fit_ood(features, labels, WIDTHS)
    assert known is not None
    unseen = cross_validated_measures(features, labels, list(range(150)), WIDTHS)
    fresh = known.measures(clusters(1000, 5, 9)[0])
    assert len(unseen) == 150
    assert abs(unseen[:, 0].mean() / fresh[:, 0].mean() - 1) < 0.15
    assert known.measures(features)[:, 0].mean() < 0.95 * fresh[:, 0].mean()  # which is why they are not taken


def test_what_is_written_is_what_is_read(tmp_path) -> None:
    known = fitted()
    np.savez(tmp_path / "known.npz", **known.arrays())
    with np.load(tmp_path / "known.npz", allow_pickle=False) as arrays:
        again = OodStatistics.from_arrays(dict(arrays))
    rows = clusters(10, 9, 4)[0]
    assert (again.score(rows) == known.score(rows)).all()
    assert again.threshold(0.1) == known.threshold(0.1)


def test_the_threshold_at_the_ends() -> None:
    known = fitted()
    assert known.threshold(0) == math.inf
    assert known.threshold(1e-9) == known.scores[-1]
    limits = [known.threshold(rate) for rate in (0.01, 0.05, 0.2, 0.5)]
    assert limits == sorted(limits, reverse=True)


@pytest.mark.parametrize("rate", [-0.1, 0.51, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(rate) -> None:
    with pytest.raises(TlkitError, match="--unknown-rate"):
        check_rate(rate)


def test_too_little_to_learn_from() -> None:
    features, labels = clusters(12, 5, 0)
    assert fit_ood(features, labels, WIDTHS) is None
    assert fit_ood(features, [3] * 12, WIDTHS) is None
    assert cross_validated_measures(features, labels, list(range(12)), WIDTHS).shape[1] == 3


@pytest.mark.parametrize("features", [np.zeros((40, 24)), np.repeat(np.eye(2, 24), 20, axis=0)])
def test_images_that_are_all_alike_give_numbers(features) -> None:
    known = fit_ood(features.astype(np.float32), [0] * 20 + [1] * 20, WIDTHS)
    assert known is not None
    known = known.calibrated(known.measures(features.astype(np.float32)))
    assert np.isfinite(known.score(clusters(5, 5, 0)[0])).all()


def test_more_rows_than_are_fitted_on_keep_every_class(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_IMAGES", 60)
    features, labels = clusters(300, 5, 0)
    features[0], labels[0] = 50.0, 8  # the only one of its class
    known = fit_ood(features, labels, WIDTHS)
    assert known is not None
    assert len(known.classes) == 6
    assert known.measures(features[:1])[0, 0] < known.measures(features[1:]).mean(axis=0)[0]
