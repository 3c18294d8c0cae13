"""How large a data set is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.advisor.size import LARGE, LEVELS, MEDIUM, SMALL, TINY, judge_size


@pytest.mark.parametrize(
    ("per_class", "level"),
    [
        ([1, 1], TINY),
        ([9] * 10, TINY),  # enough in all, too few in each
        ([13, 13, 13], TINY),  # enough in each, 39 in all
        ([10] * 4, SMALL),
        ([20, 20], SMALL),
        ([99] * 50, SMALL),
        ([333] * 3, SMALL),
        ([100] * 10, MEDIUM),
        ([500, 500], MEDIUM),
        ([499] * 50, MEDIUM),
        ([1666] * 3, MEDIUM),
        ([500] * 10, LARGE),
        ([2500, 2500], LARGE),
    ],
)
def test_levels_at_their_bounds(per_class: list[int], level: str) -> None:
    assert judge_size(per_class).level == level


@pytest.mark.parametrize(
    ("per_class", "level"),
    [
        ([5, 5, 100_000], TINY),  # one huge class does not make a data set large
        ([1, 500, 500, 500, 5000], LARGE),  # nor one small class a large one small
        ([90, 110] * 5, MEDIUM),  # between the two in the middle
    ],
)
def test_the_median_class_counts(per_class: list[int], level: str) -> None:
    assert judge_size(per_class).level == level


def test_large_for_the_rule_is_from_medium_on() -> None:
    sizes = [judge_size(per_class) for per_class in ([1], [10] * 4, [100] * 10, [500] * 10)]
    assert [size.level for size in sizes] == list(LEVELS)
    assert [size.is_large for size in sizes] == [False, False, True, True]


@pytest.mark.parametrize(
    ("per_class", "why"),
    [
        ([30, 30], "60 training images, 30 in the median class"),
        ([5], "5 training images, 5 in the median class"),
        ([20, 23], "43 training images, 21.5 in the median class (20 to 23)"),
        ([1500, 900, 1200], "3,600 training images, 1200 in the median class (900 to 1,500)"),
        ([20, 10], "30 training images, 15 in the median class (10 to 20)"),
        (
            [99, 10, 50],
            "159 training images, 50 in the median class; the largest class has 9.9 times as many as the smallest",
        ),
        (
            [100, 10, 50],
            "160 training images, 50 in the median class; the largest class has 10 times as many as the smallest",
        ),
        (
            [4, 174],
            "178 training images, 89 in the median class; the largest class has 44 times as many as the smallest",
        ),
    ],
)
def test_the_numbers_behind_it(per_class: list[int], why: str) -> None:
    assert judge_size(per_class).why == why


COUNTS = st.lists(st.sampled_from([1, 2, 9, 10, 13, 40, 99, 100, 499, 500, 5000]) | st.integers(1, 6000), min_size=1)


@given(COUNTS, st.data())
def test_more_images_in_every_class_never_lower_the_level(per_class: list[int], data: st.DataObject) -> None:
    more = [count + data.draw(st.integers(0, 1000)) for count in per_class]
    assert LEVELS.index(judge_size(more).level) >= LEVELS.index(judge_size(per_class).level)


@given(COUNTS, st.randoms(use_true_random=False))
def test_the_order_of_the_classes_does_not_matter(per_class: list[int], random) -> None:  # type: ignore[no-untyped-def]
    mixed = random.sample(per_class, len(per_class))
    assert judge_size(mixed) == judge_size(per_class)
