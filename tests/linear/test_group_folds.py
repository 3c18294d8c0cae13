"""Random folds against folds of whole groups."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tlkit.linear.folds import make_folds
from tlkit.linear.group_folds import FOLDS, MAX_ROWS, compare_folds, interval_over_groups
from tlkit.linear.ridge import ridge_scores

Made = tuple[NDArray[np.float32], list[int], list[int]]


def made(
    strength: float, *, groups: int = 20, size: int = 8, columns: int = 40, signal: float = 0.6, seed: int = 0
) -> Made:
    """Features with a weak signal of the class, and one of each group that is as strong as ``strength``."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), size)
    label = group % 2
    features = rng.normal(size=(len(group), columns)) + strength * rng.normal(size=(groups, columns))[group]
    features[:, 0] += 1.2 * (2 * label - 1)
    return features.astype(np.float32), label.tolist(), group.tolist()


def test_groups_that_look_alike_are_found() -> None:
    found = compare_folds(*made(1.5))
    assert found is not None
    assert found.random - found.grouped > 0.1
    assert found.differs
    assert found.interval[0] <= found.grouped <= found.interval[1]
    assert (found.images, found.groups) == (160, 20)


def test_groups_that_mean_nothing_are_not() -> None:
    """At most one of a hundred would be expected; none has a difference worth speaking of."""
    alarms = sum(bool((found := compare_folds(*made(0.0, seed=seed))) and found.differs) for seed in range(60))
    assert alarms <= 1


def test_random_folds_are_as_good_as_those_of_random_groups() -> None:
    gaps = [found.random - found.grouped for seed in range(20) if (found := compare_folds(*made(0.0, seed=seed)))]
    assert abs(np.mean(gaps)) < 0.01


def test_answers_are_those_of_a_classifier_that_has_not_seen_the_fold() -> None:
    from tlkit.linear.group_folds import STRENGTHS, _Answers

    features, labels, groups = made(1.0)
    scaled, target = features - features.mean(axis=0), np.asarray(labels)
    answers = _Answers(scaled, target)
    number = np.full(len(target), -1)
    folds = make_folds(target, groups, 0, FOLDS)
    for each, (_, test) in enumerate(folds):
        number[test] = each
    # the strength is a share of the mean variance of all rows
    right = answers.right(number)
    expected = []
    for strength in STRENGTHS:
        its = np.zeros(len(target))
        for train, test in folds:
            own = scaled[train] - scaled[train].mean(axis=0)
            share = strength * float((scaled**2).sum()) / len(scaled) / (float((own**2).sum()) / len(own))
            scores = ridge_scores(scaled[train], target[train], scaled[test], (share,))[0]
            its[test] = scores.argmax(axis=1) == target[test]
        expected.append(its)
    assert any((right == its).all() for its in expected)


def test_one_group_for_each_class_cannot_be_compared() -> None:
    features, labels, _ = made(1.0)
    assert compare_folds(features, labels, labels) is None


def test_many_images_are_compared_on_some_whole_groups() -> None:
    features, labels, groups = made(1.0, groups=300, size=6)
    found = compare_folds(features, labels, groups)
    assert found is not None
    assert MAX_ROWS - 6 <= found.images <= MAX_ROWS
    assert found.groups == found.images / 6
    large = compare_folds(*made(1.0, groups=8, size=400))
    assert large is not None
    assert (large.images, large.groups) == (MAX_ROWS, 8)


def test_the_interval_counts_groups() -> None:
    alone = interval_over_groups(np.repeat([1.0, 0.0], [80, 20]), np.arange(100))
    assert alone == pytest.approx((0.711, 0.867), abs=0.005)  # Wilson's for 80 of 100
    wide = interval_over_groups(np.repeat([1.0, 0.0], [80, 20]), np.arange(100) // 20)
    assert wide[1] - wide[0] > 2 * (alone[1] - alone[0])
    assert interval_over_groups(np.ones(100), np.arange(100) // 20)[0] < 0.6  # five groups, all right
