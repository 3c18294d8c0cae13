"""Folds: by class, by chance, and never with copies on both sides."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.linear.folds import FEW_FOLDS, FOLDS, MANY_ROWS, folds_for, make_folds


def test_folds_keep_groups_whole_and_classes_present() -> None:
    labels = np.repeat([0, 1, 2], 12)
    groups = np.arange(36) // 3
    folds = make_folds(labels, groups.tolist(), seed=0)
    assert len(folds) == 4
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert set(labels[train]) == set(labels[test]) == {0, 1, 2}
    assert sorted(row for _, test in folds for row in test) == list(range(36))


def test_a_class_that_is_one_group_has_no_folds() -> None:
    assert make_folds(np.repeat([0, 1], 6), [0] * 6 + list(range(1, 7)), seed=0) == []


def test_a_class_that_is_one_group_is_never_tested_but_the_others_are() -> None:
    labels = np.repeat([0, 1, 2], 12)
    groups = [*([0] * 12), *(1 + np.arange(24) // 4)]
    folds = make_folds(labels, groups, seed=0)
    assert len(folds) == 3
    assert sorted(row for _, test in folds for row in test) == list(range(12, 36))


def test_a_site_that_alone_has_a_class_is_in_every_training_set() -> None:
    sites = np.repeat(np.arange(6), 8)
    labels = np.tile([0, 1], 24)
    labels[sites == 2] = [0, 1, 2, 0, 1, 2, 0, 1]  # only site 2 has class 2
    folds = make_folds(labels, sites.tolist(), seed=0)
    assert len(folds) == 5
    assert {site for _, test in folds for site in sites[test]} == {0, 1, 3, 4, 5}


@pytest.mark.parametrize("seed", range(20))
def test_sites_that_hold_every_class_are_dealt_evenly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sites = rng.permutation(np.repeat(np.arange(20), 12))
    labels = rng.choice(3, p=[0.6, 0.35, 0.05], size=240)
    folds = make_folds(labels, sites.tolist(), seed)
    assert len(folds) == FOLDS
    for _, test in folds:
        assert 24 <= len(test) <= 72
        assert np.bincount(labels[test], minlength=3)[:2].min() > 0


@given(counts=st.lists(st.integers(2, 60), min_size=1, max_size=6), most=st.integers(2, 6), seed=st.integers(0, 99))
def test_every_fold_has_the_same_of_each_class_but_for_one(counts: list[int], most: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    folds = make_folds(labels, None, seed, most)
    assert len(folds) == min(most, min(counts))
    for label in range(len(counts)):
        each = [int((labels[test] == label).sum()) for _, test in folds]
        assert max(each) - min(each) <= 1
    sizes = [len(test) for _, test in folds]
    assert max(sizes) - min(sizes) <= 1  # what one class leaves over in a fold another makes up for
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(len(labels)))


@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=200), seed=st.integers(0, 9)
)
def test_groups_stay_whole_whatever_they_are(pairs: list[tuple[int, int]], seed: int) -> None:
    labels, groups = np.array(pairs).T
    folds = make_folds(labels, groups.tolist(), seed)
    alone = {label for label in set(labels) if len(set(groups[labels == label])) == 1}
    assert len(folds) <= FOLDS
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert set(labels[train]) == set(labels)
        assert len(test)
        assert not alone & set(labels[test])
        assert sorted([*train, *test]) == list(range(len(labels)))
    tested = [row for _, test in folds for row in test]
    assert len(tested) == len(set(tested))


def test_copies_do_not_upset_the_balance() -> None:
    labels = np.repeat([0, 1, 2], 100)
    groups = np.arange(300)
    groups[:30] = 0  # one burst of thirty, and pairs
    groups[100:140] = 100 + np.arange(40) // 2
    for _, test in make_folds(labels, groups.tolist(), 3):
        assert np.bincount(labels[test]).tolist() == pytest.approx([20, 20, 20], abs=10)
        assert np.bincount(labels[test])[1:].tolist() == [20, 20]


def test_folds_are_by_chance_and_the_same_again_with_a_seed() -> None:
    labels = np.repeat([0, 1], 40)
    first, again, other = (make_folds(labels, None, seed)[0][1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_labels_may_be_any_numbers() -> None:
    folds = make_folds(np.repeat([7, 900], 10), None, 0)
    assert [len(test) for _, test in folds] == [4] * 5


def test_many_images_take_no_time() -> None:
    """Folds are asked for again and again; scikit-learn's take seconds each time (benchmarks/fold_speed.py)."""
    rng = np.random.default_rng(0)
    groups = np.arange(10_000)
    groups[:600] //= 2
    start = time.perf_counter()
    assert len(make_folds(rng.integers(0, 50, 10_000), groups.tolist(), 0)) == FOLDS
    assert time.perf_counter() - start < 2.0


def test_fewer_folds_do_for_many() -> None:
    assert folds_for(MANY_ROWS - 1) == FOLDS
    assert folds_for(MANY_ROWS) == FEW_FOLDS
