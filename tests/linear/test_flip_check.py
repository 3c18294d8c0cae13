"""Whether mirroring is harmless, on features whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.linear import flip_check as module
from tlkit.linear.flip_check import balanced_sample, check_flips

CLASSES, EACH, WIDTH = 2, 30, 6
LABELS = np.repeat(np.arange(CLASSES), EACH)


def features(labels: np.ndarray, noise: float = 0.3, seed: int = 0) -> np.ndarray:
    """Vectors that tell their class: its column is large."""
    rng = np.random.default_rng(seed)
    return (2 * np.eye(WIDTH)[labels] + noise * rng.normal(size=(len(labels), WIDTH))).astype(np.float32)


def groups(count: int = len(LABELS)) -> list[int]:
    return list(range(count))


def test_where_mirroring_changes_nothing_it_is_harmless() -> None:
    plain = features(LABELS)
    found = check_flips(plain, plain, LABELS.tolist(), groups(), 0)
    assert found.harmless
    assert found.images == len(LABELS)
    assert found.plain == found.mirrored > 0.95


def test_where_mirroring_makes_another_class_it_is_not() -> None:
    found = check_flips(features(LABELS), features(1 - LABELS, seed=1), LABELS.tolist(), groups(), 0)
    assert not found.harmless
    assert found.images == len(LABELS)
    assert found.plain > 0.95
    assert found.mirrored < 0.05


def test_one_class_of_many_that_is_mirrored_into_another_is_seen() -> None:
    labels = np.repeat(np.arange(5), 40)
    turned = np.where(labels == 3, 4, labels)
    found = check_flips(features(labels), features(turned, seed=1), labels.tolist(), groups(len(labels)), 0)
    assert not found.harmless
    assert found.mirrored == pytest.approx(0.8, abs=0.05)


def test_where_mirrored_images_are_known_better_it_is_harmless() -> None:
    found = check_flips(features(LABELS, noise=3.0), features(LABELS, noise=0.1), LABELS.tolist(), groups(), 0)
    assert found.mirrored > found.plain
    assert found.harmless


def test_a_few_that_chance_explains_are_tolerated() -> None:
    plain = features(LABELS)
    mirrored = plain.copy()
    mirrored[0] = features(1 - LABELS)[0]
    found = check_flips(plain, mirrored, LABELS.tolist(), groups(), 0)
    assert found.mirrored < found.plain
    assert found.harmless


@pytest.mark.parametrize("each", [1, 4])
def test_too_few_images_tell_nothing(each: int) -> None:
    labels = np.repeat(np.arange(CLASSES), each)
    found = check_flips(features(labels), features(labels), labels.tolist(), groups(len(labels)), 0)
    assert found.images == 0
    assert not found.harmless


def test_copies_of_one_image_a_class_tell_nothing() -> None:
    """A probe would have seen every image that it is asked about."""
    found = check_flips(features(LABELS), features(LABELS), LABELS.tolist(), LABELS.tolist(), 0)
    assert found.images == 0
    assert not found.harmless


def test_probes_have_not_seen_what_they_are_asked() -> None:
    """With features of pure noise a probe knows what it was fitted on, and nothing else."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(LABELS), 4 * len(LABELS))).astype(np.float32)
    found = check_flips(noise, noise, LABELS.tolist(), groups(), 0)
    assert found.plain < 0.8


@given(counts=st.lists(st.integers(0, 500), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_the_images_to_look_at_are_bounded_and_of_all_classes_in_turn(counts: list[int], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)).tolist()
    chosen = balanced_sample(labels, seed)
    assert chosen == balanced_sample(labels, seed)
    assert len(chosen) == min(len(labels), module.MAX_CHECKED)
    assert chosen == sorted(set(chosen))
    assert all(0 <= place < len(labels) for place in chosen)
    taken = np.bincount([labels[place] for place in chosen], minlength=len(counts))
    most = max(taken)
    # only a class that has no more images has fewer than the others, but for the last turn
    assert all(took >= most - 1 or took == there for took, there in zip(taken, counts, strict=True))


def test_another_seed_looks_at_other_images() -> None:
    labels = [0, 1] * module.MAX_CHECKED
    assert balanced_sample(labels, 0) != balanced_sample(labels, 1)
