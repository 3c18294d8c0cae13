from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tlkit.linear import folds
from tlkit.linear import head as module
from tlkit.linear.folds import make_folds
from tlkit.linear.head import FALLBACK, best_grid_point, solve_head
from tlkit.linear.scaling import FLOOR, standardise


def blobs(classes: int, per_class: int, width: int = 12, noise: float = 1.0) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, width))
    labels = np.repeat(np.arange(classes), per_class)
    scale = np.linspace(0.3, 3, width)  # different spreads, so that scaling matters
    return ((centres[labels] + noise * rng.normal(size=(len(labels), width))) * scale).astype(
        np.float32
    ), labels.tolist()


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("balanced", [False, True])
def test_equals_scikit_learn_on_scaled_features(classes: int, balanced: bool) -> None:
    features, labels = blobs(classes, 30)
    labels, features = labels[10:], features[10:]  # uneven classes, so that balancing matters
    head = solve_head(features, labels, classes, balanced=balanced)
    mean, variance = features.mean(0), features.var(0)
    scaled = (features - mean) / np.sqrt(variance + FLOOR * variance.mean())
    weight = "balanced" if balanced else None
    reference = LogisticRegression(C=head.c, class_weight=weight, tol=1e-6, max_iter=5000)
    expected = reference.fit(scaled, labels).predict_proba(scaled)
    np.testing.assert_allclose(head.probabilities(features), expected, atol=2e-3)


def test_the_strength_of_least_cross_validated_loss_is_taken() -> None:
    features, labels = blobs(3, 25, noise=2.0)
    head = solve_head(features, labels, 3)
    assert len(head.search) >= 4
    best = min(head.search, key=lambda point: point.log_loss)
    assert head.c == best.c
    assert best.log_loss < head.search[0].log_loss


def test_same_seed_same_head_and_noise_is_held_back_more_than_signal() -> None:
    features, labels = blobs(3, 20, noise=0.3)
    one, two = solve_head(features, labels, 3, seed=1), solve_head(features, labels, 3, seed=1)
    np.testing.assert_array_equal(one.kernel, two.kernel)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=features.shape).astype(np.float32)
    assert solve_head(noise, labels, 3, seed=1).c < one.c


def test_two_images_a_class_are_enough_and_constant_features_do_no_harm() -> None:
    features, labels = blobs(3, 2, noise=0.3)
    features[:, 4] = 7.0
    head = solve_head(features, labels, 3)
    assert np.isfinite(head.probabilities(features)).all()
    assert (head.probabilities(features).argmax(1) == labels).all()
    np.testing.assert_allclose(head.probabilities(features).sum(1), 1, atol=1e-5)


def test_a_channel_that_is_almost_silent_in_training_does_not_become_the_loudest() -> None:
    """Divided by its own deviation it would be 1,000 on another image."""
    features, labels = blobs(3, 4, noise=0.3)
    features[:, 4] = np.linspace(0, 1e-3, len(features))
    scaled, mean, deviation = standardise(features)
    np.testing.assert_allclose(scaled, (features - mean) / deviation, atol=1e-5)
    loud = features[:1].copy()
    loud[0, 4] = 1.0
    assert np.abs((loud - mean) / deviation).max() < 3
    head = solve_head(features, labels, 3)
    np.testing.assert_allclose(head.probabilities(loud), head.probabilities(features[:1]), atol=0.05)


def test_each_block_has_a_scale_of_its_own() -> None:
    features, labels = blobs(3, 10)
    together = np.concatenate([features, 100 * features], axis=1)
    width = features.shape[1]
    scaled, _, _ = standardise(together, [width, width])
    np.testing.assert_allclose(scaled[:, :width], standardise(features)[0], atol=1e-5)
    np.testing.assert_allclose(scaled[:, :width], scaled[:, width:], atol=1e-4)
    assert np.abs(standardise(together)[0][:, :width]).max() < 0.1
    head = solve_head(together, labels, 3, blocks=[width, width], seed=2)
    np.testing.assert_allclose(head.kernel[:width], 100 * head.kernel[width:], rtol=1e-2, atol=1e-3)
    point = best_grid_point(together, labels, blocks=[width, width], seed=2)
    assert point in head.search


def test_without_folds_a_stated_strength_is_used() -> None:
    features, labels = blobs(2, 1)
    head = solve_head(features, labels, 2)
    assert head.c == FALLBACK
    assert head.search == ()


def test_identical_images_give_even_probabilities() -> None:
    head = solve_head(np.ones((8, 5), np.float32), [0, 1] * 4, 2)
    np.testing.assert_allclose(head.probabilities(np.ones((1, 5), np.float32)), 0.5, atol=1e-6)


def test_the_search_ends_after_the_loss_has_risen(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(2, 30, noise=4.0)
    assert len(solve_head(features, labels, 2).search) < len(module.GRID)


def test_many_images_are_compared_on_few_folds_and_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time and memory of the search do not grow without end; the head itself is solved on all images."""
    monkeypatch.setattr(folds, "MANY_ROWS", 100)
    monkeypatch.setattr(module, "MAX_SEARCH_ROWS", 40)
    solved: list[int] = []
    fit = LogisticRegression.fit

    def counted(self: LogisticRegression, x: np.ndarray, y: np.ndarray, **options: object) -> LogisticRegression:
        solved.append(len(x))
        return fit(self, x, y, **options)

    monkeypatch.setattr(LogisticRegression, "fit", counted)
    features, labels = blobs(3, 50, noise=2.0)
    head = solve_head(features, labels, 3, seed=1)
    assert solved[-1] == 150
    assert set(solved[:-1]) == {40}
    assert len(solved) - 1 == folds.FEW_FOLDS * len(head.search)


def test_thinned_folds_keep_every_class_and_their_sides() -> None:
    labels = np.array([0] * 500 + [1] * 3)
    made = make_folds(labels, None, 0, 3)
    for (train, test), (few, tested) in zip(made, folds.thinned(made, labels, 0, 40), strict=True):
        assert set(few) <= set(train)
        assert set(tested) <= set(test)
        assert set(labels[few]) == {0, 1}


def test_a_search_is_not_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    labels = [0, 1] * 15
    features = (rng.normal(size=(30, 6)) + np.asarray(labels)[:, None]).astype(np.float32)
    first = module.best_grid_point(features, labels)
    calls = []
    inner = module.cross_validate
    monkeypatch.setattr(module, "cross_validate", lambda *a, **k: calls.append(1) or inner(*a, **k))
    assert module.best_grid_point(features, labels) == first
    assert module.solve_head(features, labels, 2).search
    assert not calls
    for changed in ({"seed": 1}, {"balanced": True}, {"groups": [*range(15), *range(15)]}):
        module.best_grid_point(features, labels, **changed)
    module.best_grid_point(features, labels[::-1])
    module.best_grid_point(features + np.float32(rng.normal(size=(30, 6))), labels)
    assert len(calls) == 5


def test_a_rotation_changes_nothing_but_the_time() -> None:
    rng = np.random.default_rng(6)
    labels = np.repeat([0, 1, 2], 12)
    wide = (rng.normal(size=(36, 300)) + 0.3 * labels[:, None]).astype(np.float32)
    compact, basis = module.rotated(wide)
    assert compact.shape == (36, 36)
    assert basis is not None
    np.testing.assert_allclose(compact @ compact.T, wide @ wide.T, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(compact @ basis.T, wide, atol=1e-4)
    folds_of = make_folds(labels, None, 0)
    plain, turned = (module.cross_validate(each, labels, folds_of)[0] for each in (wide, compact))
    for one, two in zip(plain, turned, strict=True):
        assert (one.c, one.accuracy) == (two.c, pytest.approx(two.accuracy, abs=0.03))
        assert one.log_loss == pytest.approx(two.log_loss, abs=5e-3)
    tall = wide[:, :20]
    assert module.rotated(tall)[0] is tall


def test_the_head_of_wide_features_is_that_of_a_plain_solver() -> None:
    rng = np.random.default_rng(7)
    labels = np.repeat([0, 1, 2], 10)
    wide = (rng.normal(size=(30, 200)) + 0.3 * labels[:, None]).astype(np.float32)
    head = module.solve_head(wide, labels.tolist(), 3, c=0.1)
    scaled, mean, deviation = module.standardise(wide)
    plain = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(scaled, labels)
    np.testing.assert_allclose(head.probabilities(wide), plain.predict_proba(scaled), atol=2e-3)
    assert head.kernel.shape == (200, 3)
    assert mean.shape == deviation.shape == (200,)
