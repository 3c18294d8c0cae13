"""Each way folders can be laid out wrongly, and that good layouts are left in peace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import image

from tlkit.images.folder import scan
from tlkit.images.layout import layout_problems
from tlkit.images.layout_faults import LayoutProblem

Make = Callable[..., Path]


def problems(root: Path) -> list[LayoutProblem]:
    return layout_problems(scan(root, min_classes=0))


def only(root: Path) -> tuple[str, str]:
    (problem,) = problems(root)
    return problem.message, problem.advice


@pytest.mark.parametrize(
    "places",
    [
        {"a": 1, "b": 1},
        {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1},
        {"train/a": 2, "train/b": 2, "valid/a": 1, "valid/b": 1, "test/a": 1, "test/b": 1},
        {"train/a": 2, "train/b": 2},
        {"a/monday": 1, "a/tuesday/noon": 1, "b": 1, "b/monday": 1},
        {"a": 1, "a/train": 1, "b": 2},  # one class has a sub-folder of that name, the images are not all in such
        {"train/a/monday": 1, "train/b/tuesday": 1},
        {"ab": 1, "a b": 1, "c": 1},
    ],
    ids=lambda places: " ".join(places),
)
def test_good_layouts(make_folder: Make, places: dict[str, int]) -> None:
    assert problems(make_folder(places)) == []


def test_hidden_folders_and_other_files_are_no_problem(make_folder: Make) -> None:
    root = make_folder({"a": 1, "b": 1, ".thumbnails": 1})
    (root / "notes.txt").write_text("what this is")
    assert problems(root) == []


def test_class_folders_one_level_down(make_folder: Make) -> None:
    root = make_folder({"photos/a": 2, "photos/b": 2})
    message, advice = only(root)
    assert message == "all class folders are one level down, in 'photos'"
    assert advice == f"use {root / 'photos'}"


def test_splits_one_level_down_are_told_once(make_folder: Make) -> None:
    places = {"photos/train/a": 2, "photos/train/b": 2, "photos/val/a": 1, "photos/val/b": 1}
    root = make_folder(places)
    assert only(root)[1] == f"use {root / 'photos'}"
    assert problems(root / "photos") == []


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "test"])
def test_splits_inside_the_class_folders(make_folder: Make, val: str) -> None:
    root = make_folder({"a/train": 2, f"a/{val}": 1, "b/train": 2, f"b/{val}": 1})
    message, advice = only(root)
    assert "split folders are inside the class folders" in message
    assert "train/<class>/" in advice


def test_classes_that_one_split_lacks(make_folder: Make) -> None:
    root = make_folder({"train/a": 2, "train/b": 2, "train/c": 2, "val/a": 1, "val/new": 1, "test/a": 1, "test/b": 1})
    assert [(each.message, each.advice) for each in problems(root)] == [
        ("test/ lacks classes: c", "add images of them to test/"),
        ("val/ has classes that train/ does not have: new", "add them to train/"),
        ("val/ lacks classes: b, c", "add images of them to val/"),
    ]


def test_many_classes_are_named_in_part(make_folder: Make) -> None:
    root = make_folder({"train/a": 1, **{f"train/c{number}": 1 for number in range(8)}, "val/a": 1})
    assert only(root)[0] == "val/ lacks classes: c0, c1, c2, c3, c4 and 3 more"


def test_what_is_not_used(make_folder: Make) -> None:
    root = make_folder({"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "extra/c": 1, "old/d": 1})
    assert [each.message for each in problems(root)] == [
        "1 image in extra/ is not used: it is neither train/, val/ nor test/",
        "1 image in old/ is not used: it is neither train/, val/ nor test/",
    ]
    root = make_folder({"a": 1, "b": 1, "empty": 0}, name="flat")
    image(5).save(root / "one.png")
    image(6).save(root / "two.png")
    assert [each.message for each in problems(root)] == [
        "2 images in the folder itself are not used, outside any class folder: one.png, two.png",
        "no images in: empty",
    ]


def test_too_few_classes(make_folder: Make, tmp_path: Path) -> None:
    assert only(make_folder({"a": 2}, name="one"))[0] == "only 1 class"
    assert only(make_folder({"train/a": 2, "val/a": 1}, name="split"))[0] == "only 1 class"
    (tmp_path / "none").mkdir()
    assert only(tmp_path / "none")[1] == "a classifier needs at least two class folders"
