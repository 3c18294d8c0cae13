"""How sure is sure enough: the promise holds in 95% of cases, and is not made where it cannot be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tlkit.evaluation.promise import HeldOut, binomial_tail, doubts_of, each_class, images_needed, promise

SETS = 200


def held_out(right: list[bool] | np.ndarray, answers: np.ndarray | None = None) -> HeldOut:
    """Predictions with the doubts 0, 1/n, 2/n and so on."""
    count = len(right)
    answers = np.zeros(count, np.int32) if answers is None else answers.astype(np.int32)
    return HeldOut((np.arange(count) / count).astype(np.float32), answers, np.asarray(right, bool))


@given(st.integers(0, 400), st.integers(1, 3000), st.floats(0.0001, 0.9))
def test_the_tail_is_that_of_scipy(mistakes: int, images: int, risk: float) -> None:
    mistakes = min(mistakes, images)
    assert binomial_tail(mistakes, images, risk) == pytest.approx(float(binom.cdf(mistakes, images, risk)), abs=1e-9)


@pytest.mark.parametrize(("precision", "needed"), [(0.9, 29), (0.95, 59), (0.99, 299), (0.995, 598)])
def test_so_many_images_are_needed_and_enough(precision: float, needed: int) -> None:
    assert images_needed(precision) == needed
    assert promise(held_out([True] * (needed - 1)), precision) is None
    found = promise(held_out([True] * needed), precision)
    assert found is not None
    assert (found.answered, found.limit, found.threshold, found.coverage) == (needed, math.inf, 0.0, 1.0)


def mistakes_at(place: np.ndarray, kind: str) -> np.ndarray:
    """Chance of a mistake of the image at a place of the order, 0 the surest."""
    if kind == "rising":
        return np.minimum(0.6, 0.002 + 0.4 * place**3)
    if kind == "surest often wrong":
        return np.where(place < 0.02, 0.2, 0.3 * place**3)
    return np.full(len(place), {"always the same": 0.05, "on the edge": 0.0501}[kind])


@pytest.mark.parametrize("kind", ["rising", "surest often wrong", "always the same", "on the edge"])
@pytest.mark.parametrize("images", [80, 400, 1500])
def test_a_promise_is_broken_in_no_more_than_5_of_100_cases(kind: str, images: int) -> None:
    precision, rng = 0.95, np.random.default_rng(images)
    fine = np.linspace(0, 1, 4001)[1:]
    risk = np.cumsum(mistakes_at(fine, kind)) / np.arange(1, len(fine) + 1)
    broken = made = 0
    for _ in range(SETS):
        place = np.sort(rng.random(images))
        right = rng.random(images) >= mistakes_at(place, kind)
        found = promise(HeldOut(place.astype(np.float32), np.zeros(images, np.int32), right), precision)
        made += found is not None
        if found is not None:
            broken += bool(np.interp(min(found.limit, 1.0), fine, risk) > 1 - precision)
    assert broken <= binom.ppf(0.999, SETS, 0.05)
    if kind == "rising" and images == 1500:
        assert made == SETS, "and not by promising nothing"


@given(st.lists(st.booleans(), min_size=30, max_size=300), st.sampled_from([0.6, 0.8, 0.9]))
def test_what_is_answered_was_right_more_often_than_promised(right: list[bool], precision: float) -> None:
    found = promise(held_out(right), precision)
    if found is not None:
        assert 1 - found.wrong / found.answered > precision
        assert found.wrong == (~np.asarray(right))[: found.answered].sum()
        assert (held_out(right).doubts < found.limit).sum() == found.answered


def test_equal_doubts_are_answered_together_or_not_at_all() -> None:
    """Else new images with that very doubt would be answered, of which nothing is known."""
    some = HeldOut(np.repeat(np.float32([0.1, 0.2]), 100), np.zeros(200, np.int32), np.repeat([True, False], 100))
    found = promise(some, 0.9)
    assert found is not None
    assert (found.answered, found.limit) == (100, np.float32(0.2))


def test_each_class_by_itself_takes_more_images() -> None:
    answers = np.tile([0, 1], 150)
    right = np.ones(300, bool)
    right[1::4] = False  # half of those predicted as class 1
    found = each_class(held_out(right, answers), 0.9, 2)
    assert found[0] is not None
    assert found[0].images == 150
    assert found[1] is None
    few = held_out(np.ones(70, bool), np.tile([0, 1], 35))
    assert promise(few.of_class(0), 0.9) is not None
    assert each_class(few, 0.9, 2) == [None, None], "35 are too few for a promise that holds for both"


def test_a_doubt_keeps_the_digits_that_a_probability_near_1_loses() -> None:
    rows = np.array([[1.0, 2e-12, 1e-12], [0.2, 0.5, 0.3]], np.float32)
    np.testing.assert_allclose(doubts_of(rows), [3e-12, 0.5], rtol=1e-6)
    its = HeldOut.of(rows, [0, 2])
    assert its.right.tolist() == [True, False]
    assert its.answers.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("doubts", np.float32([0.2, 0.1])),
        ("doubts", np.float32([0.1, np.nan])),
        ("doubts", np.float32([0.1, 1.5])),
        ("doubts", np.float64([0.1, 0.2])),
        ("answers", np.int32([0, 2])),
        ("answers", np.int32([-1, 0])),
        ("right", np.array([True])),
        ("right", np.int32([0, 1])),
    ],
)
def test_arrays_of_strangers_are_checked(name: str, value: np.ndarray) -> None:
    arrays = held_out([True, False]).arrays()
    assert len(HeldOut.from_arrays(arrays, 2)) == 2
    with pytest.raises(ValueError, match=r"must be|ascending"):
        HeldOut.from_arrays({**arrays, name: value}, 2)


def test_a_promise_in_words() -> None:
    right = np.ones(2600, bool)
    right[2288:] = False
    found = promise(held_out(right), 0.99)
    assert found is not None
    assert str(found).startswith("answers 8")
    assert "at 99% precision or better (95% confidence); " in str(found)
    assert str(found).endswith(" of 2,600 to look at")
