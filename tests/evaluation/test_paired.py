"""The difference of two classifiers on the same images, against other implementations and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.evaluation.paired import LEVEL, difference_interval, holm, images_needed, mcnemar, mean_interval, paired

COUNTS = st.integers(0, 40)


def rows(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    a = [True] * (both + only_a) + [False] * (only_b + neither)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return a, b


@given(only_a=COUNTS, only_b=COUNTS)
def test_mcnemar_is_that_of_statsmodels(only_a: int, only_b: int) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    if not only_a + only_b:
        assert mcnemar(0, 0) == 1
        return
    theirs = tables.mcnemar([[5, only_a], [only_b, 5]], exact=True).pvalue
    assert mcnemar(only_a, only_b) == pytest.approx(min(1.0, theirs), rel=1e-9)


def test_mcnemar_by_hand() -> None:
    # of 6 images that only one gets right, B gets all: twice (1/2)^6
    assert mcnemar(0, 6) == pytest.approx(2 * 0.5**6)
    assert mcnemar(3, 3) == 1
    assert mcnemar(0, 0) == 1


@given(both=COUNTS, only_a=COUNTS, only_b=COUNTS, neither=COUNTS)
def test_the_interval_leaves_out_nought_exactly_where_the_test_finds_a_difference(
    both: int, only_a: int, only_b: int, neither: int
) -> None:
    if not both + only_a + only_b + neither:
        return
    found = paired(*rows(both, only_a, only_b, neither))
    assert (found.both, found.only_a, found.only_b, found.neither) == (both, only_a, only_b, neither)
    low, high = found.ci95
    assert -1 <= low <= found.difference <= high <= 1
    assert (low <= 0 <= high) == (found.p_value >= LEVEL)
    assert (found.better is None) == (low <= 0 <= high)
    swapped = paired(*rows(both, only_b, only_a, neither))
    assert swapped.difference == -found.difference
    assert {found.better, swapped.better} in ({None}, {"a", "b"})


def test_with_many_deciding_images_the_interval_is_that_of_a_bootstrap_by_hand() -> None:
    a, b = (np.array(each) for each in rows(700, 80, 140, 80))
    rng = np.random.default_rng(3)
    drawn = [(b[i].mean() - a[i].mean()) for i in (rng.integers(0, 1000, 1000) for _ in range(4000))]
    assert difference_interval(80, 140, 1000) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.003)


@pytest.mark.parametrize(("share_a", "share_b"), [(0.0, 0.05), (0.02, 0.05), (0.05, 0.15), (0.1, 0.1)])
def test_the_interval_holds_the_truth_also_for_few_images(share_a: float, share_b: float) -> None:
    """A bootstrap alone would hold it in 65% to 67% of the first two cases."""
    rng, images, held = np.random.default_rng(0), 20, 0
    for only_a, only_b, _ in rng.multinomial(images, [share_a, share_b, 1 - share_a - share_b], size=200):
        low, high = difference_interval(int(only_a), int(only_b), images)
        held += low <= share_b - share_a <= high
    assert held >= 184


def test_without_deciding_images_the_interval_is_not_a_point() -> None:
    low, high = difference_interval(0, 0, 100)
    assert high == -low == pytest.approx(1 - 0.025**0.01)


def test_as_many_images_as_said_show_the_difference() -> None:
    """With as many images, the test finds the difference about as often as promised."""
    needed = images_needed(6, 10, 153)
    assert needed is not None
    assert needed > 153
    rng = np.random.default_rng(0)
    draws = rng.multinomial(needed, [6 / 153, 10 / 153, 137 / 153], size=400)
    power = np.mean([mcnemar(int(one), int(two)) < LEVEL for one, two, _ in draws])
    assert 0.72 < power < 0.88
    assert images_needed(5, 5, 100) is None


def test_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(1, 2, 400)
    low, high = mean_interval(values)
    reach = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.03)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
