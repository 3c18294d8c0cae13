from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.advisor.growth import WORTHWHILE, predict_growth
from tlkit.advisor.probes import Probe, Probes


def probes(
    quarter: float,
    half: float,
    full: float,
    recalls: tuple[float, ...] = (0.8, 0.8, 0.8),
    images: int = 400,
    noise: float = 0.01,
) -> Probes:
    probe = Probe("top", full, 0.3, 0.1, np.ones(images, dtype=bool))
    curve = ((0.25, quarter), (0.5, half), (1.0, full))
    return Probes(images, 3, 0.34, probe, probe, (probe,), 0.7, curve, recalls, noise)


def test_the_next_doubling_leaves_the_share_of_errors_that_the_last_two_left() -> None:
    found = predict_growth(probes(0.60, 0.72, 0.80), ("a", "b", "c"))
    # errors fell from 0.4 to 0.2 in two doublings: by the root of a half in one
    assert found.gain == pytest.approx(0.2 * (1 - np.sqrt(0.5)))
    assert found.accuracy == pytest.approx(0.8 + found.gain)
    assert found.worthwhile


def test_a_flat_curve_is_not_worth_more_images() -> None:
    found = predict_growth(probes(0.85, 0.85, 0.85, (0.2, 0.9, 0.9)), ("a", "b", "c"))
    assert (found.gain, found.worthwhile, found.classes) == (0.0, False, ())
    assert "hardly worth" in found.why


def test_a_curve_that_falls_promises_nothing() -> None:
    assert predict_growth(probes(0.9, 0.88, 0.85), ("a", "b", "c")).gain == 0.0


def test_classes_that_are_mistaken_far_more_often_come_first() -> None:
    found = predict_growth(probes(0.6, 0.7, 0.8, (0.9, 0.5, 0.85)), ("ants", "bees", "cats"))
    assert found.classes == ("bees",)
    assert "bees" in found.why
    noisy = predict_growth(probes(0.6, 0.7, 0.8, (0.9, 0.5, 0.85), noise=0.2), ("ants", "bees", "cats"))
    assert noisy.classes == ()


@given(curve=st.tuples(*[st.floats(0, 1)] * 3), images=st.integers(4, 10**6))
def test_nothing_is_promised_beyond_half_of_the_errors(curve: tuple[float, float, float], images: int) -> None:
    found = predict_growth(probes(*curve, images=images), ("a", "b", "c"))
    assert 0 <= found.gain <= (1 - curve[2]) / 2 + 1e-9
    assert found.worthwhile == (found.gain >= WORTHWHILE)
