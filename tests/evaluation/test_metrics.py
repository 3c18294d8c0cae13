from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from tlkit.evaluation.metrics import majority_accuracy, measure, wilson_interval


def test_figures_equal_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    probabilities = rng.dirichlet(np.ones(4), 300)
    probabilities[np.arange(300), labels] += 0.3
    probabilities /= probabilities.sum(1, keepdims=True)
    answers = probabilities.argmax(1)
    found = measure(probabilities, labels.tolist())
    assert found.images == 300
    assert found.accuracy == pytest.approx(reference.accuracy_score(labels, answers))
    assert found.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, answers))
    assert found.macro_f1 == pytest.approx(reference.f1_score(labels, answers, average="macro"))
    assert found.log_loss == pytest.approx(reference.log_loss(labels, probabilities))
    assert set(found.to_json("val_")) >= {"val_accuracy", "val_accuracy_ci95", "val_loss", "val_macro_f1"}


def test_wilson_published_example() -> None:
    # Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_interval_holds_the_share(case: tuple[int, int]) -> None:
    low, high = wilson_interval(*case)
    assert 0 <= low <= case[0] / case[1] + 1e-12
    assert case[0] / case[1] - 1e-12 <= high <= 1


def test_a_certain_wrong_answer_has_a_finite_loss() -> None:
    assert np.isfinite(measure(np.array([[1.0, 0.0]]), [1]).log_loss)


def test_baseline_is_the_training_majority_on_the_other_pictures() -> None:
    assert majority_accuracy([0, 0, 1], [1, 1, 1, 0], 2) == 0.25
