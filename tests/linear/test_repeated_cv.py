from __future__ import annotations

import numpy as np
import pytest

from tlkit.linear.repeated_cv import repeated_accuracy


def clouds(distance: float, count: int = 200) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    features = rng.normal(0, 1, (count, 4))
    features[:, 0] += distance * labels
    return features.astype(np.float32), labels.tolist()


@pytest.mark.parametrize(("distance", "expected"), [(0, 0.5), (2, 0.841), (6, 0.999)])
def test_it_is_the_accuracy_on_fresh_rows(distance: float, expected: float) -> None:
    """Of two normal clouds at a distance, that of the best boundary is known."""
    found = repeated_accuracy(*clouds(distance, 1000), 1e-2)
    assert found == pytest.approx(expected, abs=0.05)


def test_noise_is_not_learnt_by_heart() -> None:
    """80 columns of noise: a head that had seen the rows would know them all."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 80)).astype(np.float32)
    found = repeated_accuracy(features, [index % 2 for index in range(60)], 10.0)
    assert found is not None
    assert 0.2 < found < 0.8


def test_a_class_that_cannot_be_divided() -> None:
    features, _ = clouds(1, 10)
    assert repeated_accuracy(features, [0] * 9 + [1], 0.01) is None
    assert repeated_accuracy(features, [0] * 8 + [1, 1], 0.01, groups=[*range(8), 8, 8]) is None
