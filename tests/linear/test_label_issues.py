"""Wrong labels planted in made-up features are found; others are left in peace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tlkit.linear.label_issues import HIGHEST_OWN, MIN_NAMED, SHARE, LabelIssue, find_label_issues, probe_probabilities

Matrix = NDArray[np.float32]


def blobs(classes: int, each: int, width: int = 24, seed: int = 0) -> tuple[Matrix, list[int]]:
    """Clouds around one centre a class, well apart, with negative values too."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    centres = 2.5 * rng.normal(size=(classes, width))
    return (centres[labels] + rng.normal(size=(len(labels), width))).astype(np.float32), labels.tolist()


def suspects_of(features: Matrix, labels: list[int], groups: list[int] | None = None) -> list[LabelIssue]:
    found = probe_probabilities(features, labels, groups or list(range(len(labels))), seed=0)
    assert found is not None
    assert found.shape == (len(labels), len(set(labels)))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)
    return find_label_issues(found, labels)


@pytest.mark.parametrize(("classes", "each", "seed"), [(2, 60, 0), (2, 60, 1), (4, 40, 0), (4, 40, 1)])
def test_planted_wrong_labels_come_first(classes: int, each: int, seed: int) -> None:
    features, truth = blobs(classes, each, seed=seed)
    planted = {3: 1, each + 5: 0, 2 * each - 1: (2 if classes > 2 else 0)}
    labels = [planted.get(index, label) for index, label in enumerate(truth)]
    found = suspects_of(features, labels)
    assert {each.index for each in found[: len(planted)]} == set(planted)
    assert len(found) <= len(planted) + 2
    for suspect in found[: len(planted)]:
        assert (suspect.label, suspect.looks_like) == (planted[suspect.index], truth[suspect.index])
        assert suspect.margin < -2


def test_right_labels_are_left_in_peace() -> None:
    features, labels = blobs(3, 30)
    assert suspects_of(features, labels) == []


def test_labels_without_any_meaning_name_few() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 24)).astype(np.float32)
    assert len(suspects_of(features, rng.integers(0, 3, 120).tolist())) <= 6


def test_a_wrong_label_with_copies_in_the_data_is_found() -> None:
    features, labels = blobs(2, 30, width=200)
    copies = 2
    features = np.vstack([features, np.repeat(features[:1], copies, axis=0)])
    labels[0] = 1
    labels += [1] * copies
    wrong = {0, *range(60, 60 + copies)}
    apart = list(range(len(labels)))
    together = [0 if index in wrong else index for index in apart]
    found = suspects_of(features, labels, together)
    assert {each.index for each in found} == wrong
    # had the probes seen the copies, they would have learnt the wrong label from them
    assert not wrong & {each.index for each in suspects_of(features, labels, apart)}


def test_too_few_images_for_probes() -> None:
    features, labels = blobs(2, 8)
    apart = list(range(16))
    assert probe_probabilities(features[:9], labels[:9], apart[:9], seed=0) is None  # one of a class
    all_copies = [0 if label == 0 else index for index, label in enumerate(labels)]
    assert probe_probabilities(features, labels, all_copies, seed=0) is None
    assert probe_probabilities(features[6:10], labels[6:10], apart[6:10], seed=0) is not None  # two of each


def test_the_same_seed_gives_the_same_answers() -> None:
    features, labels = blobs(2, 10, width=8)
    one, two, other = (probe_probabilities(features, labels, list(range(20)), seed) for seed in (1, 1, 2))
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("images", [200, SHARE * MIN_NAMED, 2 * SHARE * MIN_NAMED])
def test_no_more_are_named_than_people_look_at(images: int) -> None:
    labels = [0] * (images // 2) + [1] * (images // 2)
    own = np.full(images, 0.999, np.float32)
    wrong = range(0, images, images // 100)  # a hundred of them
    own[list(wrong)] = np.linspace(0.001, 0.0001, len(wrong))
    found = find_label_issues(
        np.where(np.eye(2)[labels] == 1, own[:, None], 1 - own[:, None]).astype(np.float32), labels
    )
    assert [each.index for each in found] == list(wrong)[::-1][: max(MIN_NAMED, images // SHARE)]


def test_a_class_without_images_attracts_none() -> None:
    probabilities = np.array([[0.9, 0.05, 0.05], [0.02, 0.03, 0.95], [0.1, 0.8, 0.1]], np.float32)
    assert find_label_issues(probabilities, [0, 0, 1]) == []


def test_less_than_usual_confidence_in_the_other_class_is_no_suspicion() -> None:
    sure, less, own = [0.1, 0.85, 0.05], [0.05, 0.8, 0.15], [0.9, 0.05, 0.05]
    probabilities = np.array([less, own, own, sure, sure], np.float32)
    assert find_label_issues(probabilities, [0, 0, 0, 1, 1]) == []
    probabilities[0] = [0.05, 0.86, 0.09]
    assert [each.index for each in find_label_issues(probabilities, [0, 0, 0, 1, 1])] == [0]


def test_a_probability_of_exactly_zero_gives_a_margin_that_json_can_hold() -> None:
    probabilities = np.array([[0, 1], [1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    with np.errstate(all="raise"):
        (suspect,) = find_label_issues(probabilities, [0, 0, 0, 1, 1])
    assert suspect.index == 0
    assert np.isfinite(suspect.margin)
    assert suspect.margin < -20


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 120), st.floats(0.02, 0.5))
def test_worst_first_each_once_and_only_confident_ones(seed: int, classes: int, images: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, spread), images).astype(np.float32)
    labels = rng.integers(0, classes, images).tolist()
    found = find_label_issues(probabilities, labels)
    margins = [each.margin for each in found]
    assert margins == sorted(margins)
    assert len({each.index for each in found}) == len(found) <= MIN_NAMED
    for each in found:
        row = probabilities[each.index]
        assert each.label == labels[each.index] != each.looks_like
        assert row[each.looks_like] == row.max()
        assert row[each.label] <= HIGHEST_OWN


def test_a_class_of_one_image_does_not_stop_the_search_in_others() -> None:
    features, labels = blobs(3, 30)
    labels[4] = 1  # planted
    keep = [*range(60), 60]  # one image of the third class
    found = probe_probabilities(features[keep], [labels[row] for row in keep], list(range(61)), seed=0)
    assert found is not None
    assert np.isnan(found[60]).all()
    assert np.isfinite(found[:60]).all()
    assert [each.index for each in find_label_issues(found, [labels[row] for row in keep])] == [4]


def test_rows_of_which_nothing_is_known_are_no_suspects() -> None:
    assert find_label_issues(np.full((3, 2), np.nan, np.float32), [0, 1, 1]) == []
