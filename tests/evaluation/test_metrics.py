from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from tlkit.evaluation.metrics import calibration_error, majority_accuracy, measure, reliability, wilson_interval


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
    assert found.top5_accuracy == 1
    assert set(found.to_json("val_")) >= {"val_accuracy", "val_accuracy_ci95", "val_loss", "val_macro_f1"}


def test_top_5_of_many_classes_equals_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    probabilities, labels = rng.dirichlet(np.ones(12), 200), rng.integers(0, 12, 200)
    expected = reference.top_k_accuracy_score(labels, probabilities, k=5)
    assert measure(probabilities, labels.tolist()).top5_accuracy == expected
    assert 0.3 < expected < 0.6


def test_calibration_error_by_hand() -> None:
    """Two images in the bin of 0.9, one of them right; two in that of 0.6, both right."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    assert calibration_error(probabilities, [0, 1, 1, 1]) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    assert reliability(probabilities, [0, 1, 1, 1]) == [
        (pytest.approx(0.6), 1.0, 2),
        (pytest.approx(0.9), 0.5, 2),
    ]


def test_a_classifier_that_is_as_sure_as_it_is_right_has_no_calibration_error() -> None:
    rng = np.random.default_rng(2)
    sure = rng.uniform(0.5, 1, 200_000)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    labels = (rng.uniform(size=len(sure)) > sure).astype(int)
    assert calibration_error(probabilities, labels) < 0.01
    assert calibration_error(np.tile([0.999, 0.001], (len(sure), 1)), labels) > 0.2


@given(
    st.integers(2, 8).flatmap(
        lambda classes: st.lists(
            st.tuples(st.integers(0, classes - 1), st.permutations([1 + i for i in range(classes)])),
            min_size=1,
            max_size=30,
        )
    )
)
def test_figures_stay_within_their_ranges(rows: list[tuple[int, list[int]]]) -> None:
    found = measure(np.array([row for _, row in rows]), [label for label, _ in rows])
    for figure in (found.accuracy, found.top5_accuracy, found.balanced_accuracy, found.macro_f1, found.ece):
        assert 0 <= figure <= 1
    assert found.top5_accuracy >= found.accuracy  # without ties, which scikit-learn orders its own way
    assert found.log_loss >= 0


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


def test_baseline_is_the_training_majority_on_the_other_images() -> None:
    assert majority_accuracy([0, 0, 1], [1, 1, 1, 0], 2) == 0.25
