from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.errors import TlkitError
from tlkit.images.stratified import stratified_split

COUNTS = st.lists(st.integers(2, 40), min_size=2, max_size=6)


@given(COUNTS, st.floats(0.05, 0.6), st.integers(0, 5))
def test_every_class_is_on_both_sides_in_the_asked_share(counts: list[int], share: float, seed: int) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    splits = stratified_split(labels, share, seed)
    kept = Counter(label for label, split in zip(labels, splits, strict=True) if split == "val")
    for label, count in enumerate(counts):
        assert kept[label] == min(max(1, round(share * count)), count - 1)
    assert splits == stratified_split(labels, share, seed)


@given(COUNTS, st.floats(0.05, 0.6), st.integers(0, 5), st.randoms(use_true_random=False))
def test_groups_are_never_divided(counts: list[int], share: float, seed: int, random: object) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    groups = [random.randrange(1 + len(labels) // 2) for _ in labels]  # type: ignore[attr-defined]
    splits = stratified_split(labels, share, seed, groups)
    sides: dict[int, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        sides.setdefault(group, set()).add(split)
    assert all(len(side) == 1 for side in sides.values())
    train = Counter(label for label, split in zip(labels, splits, strict=True) if split == "train")
    assert all(train[label] >= 1 for label in range(len(counts)))


def test_the_seed_matters() -> None:
    labels = [0, 1] * 20
    assert len({tuple(stratified_split(labels, 0.2, seed)) for seed in range(10)}) == 10


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(TlkitError, match="--val-split"):
        stratified_split([0, 0, 1, 1], share, 0)


def test_the_draw_does_not_depend_on_other_classes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90).tolist()
    splits = stratified_split(labels, 0.2, 0)
    assert 0.15 < splits.count("val") / 90 < 0.25


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [3, 6, 40])
def test_sites_that_hold_every_class_give_each_class_about_its_share(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, p=[0.5, 0.4, 0.1], size=400).tolist()
    sites = rng.integers(0, count, 400).tolist()
    splits = stratified_split(labels, 0.2, seed, sites)
    for site in range(count):
        assert len({split for split, its in zip(splits, sites, strict=True) if its == site}) == 1
    whole = Counter(labels)
    held = Counter(label for label, split in zip(labels, splits, strict=True) if split == "val")
    for label in range(3):
        # with three sites, one of them is a third
        assert 0.5 * 0.2 <= held[label] / whole[label] <= max(0.3, 1.6 / count)


def test_a_class_of_one_site_keeps_its_images_for_training() -> None:
    labels = [0, 1] * 30 + [2] * 6
    sites = [index // 10 for index in range(60)] + [2] * 6
    for seed in range(10):
        splits = stratified_split(labels, 0.2, seed, sites)
        assert {splits[index] for index, site in enumerate(sites) if site == 2} == {"train"}
        assert "val" in splits


def test_a_few_copies_with_contradicting_labels_stay_in_training() -> None:
    labels = [0, 1] * 100
    groups = [0, 0, *range(2, 200)]
    assert all(stratified_split(labels, 0.5, seed, groups)[0] == "train" for seed in range(10))


def test_sites_are_drawn_by_chance() -> None:
    labels, sites = [0, 1] * 100, [index // 10 for index in range(200)]
    drawn = {tuple(stratified_split(labels, 0.2, seed, sites)) for seed in range(10)}
    assert len(drawn) > 5
