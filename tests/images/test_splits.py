"""Test images that are kept aside, and what stands in where there are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tlkit
from tlkit.errors import TlkitError
from tlkit.images.folder import TEST, TRAIN, VAL, ImageFolder
from tlkit.images.splits import MIN_IMAGES_FOR_TEST, with_test, with_validation


def folder_of(counts: dict[str, int], splits: Sequence[str] = ()) -> ImageFolder:
    labels = [label for label, count in enumerate(counts.values()) for _ in range(count)]
    return ImageFolder(
        root=Path("/images"),
        classes=tuple(counts),
        files=tuple(f"{index}.png" for index in range(len(labels))),
        labels=tuple(labels),
        splits=tuple(splits or [""] * len(labels)),
    )


def parts(folder: ImageFolder, test: float | None = None, val: float = 0.2, sides: Sequence[str | None] = ()):  # type: ignore[no-untyped-def]
    groups, before = list(range(len(folder.files))), sides or [None] * len(folder.files)
    return with_validation(with_test(folder, groups, test, 0, before), groups, val, 0, before)


@pytest.mark.parametrize(("count", "tested"), [(MIN_IMAGES_FOR_TEST // 2 - 1, 0), (MIN_IMAGES_FOR_TEST // 2, 15)])
def test_from_300_images_a_tenth_is_kept_aside(count: int, tested: int) -> None:
    found = parts(folder_of({"a": count, "b": MIN_IMAGES_FOR_TEST // 2}))
    assert found.counts(TEST) == {"a": tested, "b": tested}
    assert (set(found.splits) == {TRAIN, VAL, TEST}) == bool(tested)


def test_a_share_that_is_asked_for_and_none() -> None:
    assert parts(folder_of({"a": 20, "b": 40}), 0.25).counts(TEST) == {"a": 5, "b": 10}
    assert TEST not in parts(folder_of({"a": 400, "b": 400}), 0.0).splits


def test_classes_too_small_for_the_share_give_none() -> None:
    assert parts(folder_of({"a": 9, "b": 400})).counts(TEST) == {"a": 0, "b": 40}
    assert TEST not in parts(folder_of({f"c{i}": 5 for i in range(100)})).splits


def test_a_test_folder_of_ones_own_is_all_there_is() -> None:
    folder = folder_of({"a": 200, "b": 200}, ["train"] * 190 + ["test"] * 10 + ["train"] * 200)
    assert parts(folder).counts(TEST) == {"a": 10, "b": 0}
    with pytest.raises(TlkitError, match="own test/"):
        parts(folder, 0.1)


def test_validation_images_of_ones_own_are_not_drawn_from() -> None:
    folder = folder_of({"a": 200, "b": 200}, (["train"] * 150 + ["val"] * 50) * 2)
    found = parts(folder)
    assert found.counts(TEST) == {"a": 15, "b": 15}
    assert found.counts(VAL) == {"a": 50, "b": 50}
    few = folder_of({"a": 200, "b": 200}, (["train"] * 140 + ["val"] * 60) * 2)
    assert TEST not in parts(few).splits


def test_what_an_earlier_training_used_stays_what_it_was() -> None:
    folder = folder_of({"a": 200, "b": 200})
    before = [(TRAIN, VAL, TEST, None)[index % 4] for index in range(400)]
    found = parts(folder, sides=before)
    for side, split in zip(before, found.splits, strict=True):
        assert side is None or side == split


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), min_size=30, max_size=200),
    st.floats(0.05, 0.5),
    st.integers(0, 50),
)
def test_copies_are_never_in_two_parts(drawn: list[tuple[int, int]], share: float, seed: int) -> None:
    labels = sorted(label for label, _ in drawn)
    if min(Counter([0, 1, 2, *labels]).values()) < 3:
        return
    counts = {name: labels.count(label) for label, name in enumerate("abc")}
    folder, groups = folder_of(counts), [subject for _, subject in drawn]
    found = with_test(folder, groups, share, seed, [None] * len(groups))
    sides: dict[int, set[str]] = {}
    for group, split in zip(groups, found.splits, strict=True):
        sides.setdefault(group, set()).add(split)
    assert all(len(each) == 1 for each in sides.values())
    for name, count in found.counts(TEST).items():
        assert count < counts[name]


def test_no_test_images_where_a_class_would_be_left_with_one_group() -> None:
    folder = folder_of({"a": 200, "b": 200})
    two = [index // 100 for index in range(400)]
    before: list[str | None] = [None] * 400
    assert TEST not in with_test(folder, two, None, 0, before).splits
    found = with_validation(with_test(folder, two, None, 0, before), two, 0.2, 0, before)
    assert found.counts(VAL) == {"a": 100, "b": 100}
    ten = [index // 20 for index in range(400)]
    assert with_test(folder, ten, None, 0, before).counts(TEST) == {"a": 20, "b": 20}


def test_a_small_class_shares_the_sites_of_the_others() -> None:
    labels = [index % 10 for index in range(400)]
    folder = folder_of({"a": 360, "b": 40})
    folder = replace(folder, labels=tuple(int(label == 0) for label in labels))
    sites = [index // 20 for index in range(400)]
    found = with_test(folder, sites, 0.01, 0, [None] * 400)
    assert found.counts(TEST) == {"a": 18, "b": 2}


def test_one_group_for_each_class_cannot_be_held_out() -> None:
    folder = replace(folder_of({"a": 5, "b": 5}), groups=("x",) * 5 + ("y",) * 5)
    with pytest.raises(TlkitError, match="no class has images of two groups") as refused:
        with_validation(folder, [0] * 5 + [1] * 5, 0.2, 0, [None] * 10)
    assert "--groups" in str(refused.value.hint)


def test_training_reports_on_images_nothing_was_chosen_on(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    images = make_folder({"a": 40, "b": 40})
    plainly: dict[str, Any] = {"strategy": "freeze", "backbone": "efficientnet-lite0", "image_size": 32, "refit": False}
    plainly |= {"features": "last", "report": False}
    kept = tlkit.train(images, test_split=0.25, output=tmp_path / "kept.tlkit", **plainly)
    assert kept.images == {"train": 44, "val": 16, "test": 20, "skipped": 0}
    assert "test_accuracy" in kept.metrics
    assert "cv_accuracy" not in kept.metrics
    assert kept.plan.test_split == 0.25
    fresh = tlkit.evaluate(images, kept.model)
    assert fresh.used.count("test") == 20
    plain = tlkit.train(images, output=tmp_path / "plain.tlkit", **plainly)
    assert plain.images["test"] == 0
    low, high = plain.metrics["cv_accuracy_ci95"]
    assert low <= plain.metrics["cv_accuracy"] <= high
    assert plain.metrics["cv_accuracy"] > 0.8  # the classes differ in tint
    with pytest.raises(TlkitError, match="--test-split"):
        tlkit.train(images, test_split=0.9, output=tmp_path / "none.tlkit")
