from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.evaluation.metrics import calibration_error
from tlkit.linear.temperature import MAX_TEMPERATURE, MIN_TEMPERATURE, fit_temperature, tempered


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def drawn(count: int, factor: float) -> tuple[np.ndarray, list[int]]:
    """Probabilities that are too sure by a factor on their logits, and labels drawn by the true ones."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (count, 5))
    true = softmax(logits)
    labels = [int(rng.choice(5, p=row)) for row in true]
    return softmax(factor * logits).astype(np.float32), labels


@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_the_factor_by_which_a_network_is_too_sure_is_found(factor: float) -> None:
    probabilities, labels = drawn(4000, factor)
    found = fit_temperature(probabilities, labels)
    assert found == pytest.approx(factor, rel=0.08)
    after = tempered(probabilities, found)
    assert calibration_error(after, labels) < 0.025
    if factor != 1:
        assert calibration_error(probabilities, labels) > 0.08
    np.testing.assert_array_equal(after.argmax(1), probabilities.argmax(1))


def test_few_images_that_are_all_right_do_not_make_it_certain() -> None:
    probabilities = np.tile(np.array([[0.9, 0.1]], np.float32), (60, 1))
    found = fit_temperature(probabilities, [0] * 60)
    assert 0.3 < found < 1
    assert tempered(probabilities, found).max() < 0.9999


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda row: sum(row) > 0.1), min_size=1),
    st.floats(MIN_TEMPERATURE, MAX_TEMPERATURE),
)
def test_any_probabilities_can_be_scaled(rows: list[list[float]], temperature: float) -> None:
    values = np.array(rows)
    values = (values / values.sum(1, keepdims=True)).astype(np.float32)
    after = tempered(values, temperature)
    np.testing.assert_allclose(after.sum(1), 1, atol=1e-5)
    assert (after[np.arange(len(values)), values.argmax(1)] >= after.max(1) - 1e-6).all()
    assert MIN_TEMPERATURE <= fit_temperature(values, [0] * len(values)) <= MAX_TEMPERATURE


def test_a_temperature_of_one_changes_nothing() -> None:
    probabilities, _ = drawn(50, 1)
    np.testing.assert_allclose(tempered(probabilities, 1), probabilities, atol=1e-6)
