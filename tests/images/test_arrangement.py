"""What the folders of a data set are taken for: splits, classes, strays; and what is refused."""

from __future__ import annotations

import os
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.errors import TlkitError
from tlkit.images.check import assess
from tlkit.images.class_names import matched_names, name_key, one_spelling
from tlkit.images.facts import Facts
from tlkit.images.folder import ImageFolder, scan
from tlkit.images.layout import class_doubts, layout_notes, layout_problems
from tlkit.images.natural import natural
from tlkit.images.split_names import is_fold, split_of, splits_among

Make = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training", "train"), ("TRN", "train"), ("train_set", "train"), ("trainset", "train"),
        ("train2017", "train"), ("Training Images", "train"), ("seg_train", "train"), ("TrainData", "train"),
        ("valid", "val"), ("Validation", "val"), ("val_2", "val"), ("dev", "val"), ("eval", "val"),
        ("test", "test"), ("testing", "test"), ("Test_Set", "test"), ("hold-out", "test"), ("holdout", "test"),
        ("bus", None), ("trainer", None), ("valve", None), ("testis", None), ("contest", None), ("1", None),
        ("express train", None), ("develop", None),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_names_of_folds() -> None:
    assert all(map(is_fold, ("fold1", "Fold_2", "part_b", "set-3", "split 4", "batch05", "cv1")))
    assert not any(map(is_fold, ("scaffold", "party", "sunset", "apartment 3", "fold")))


def test_splits_that_share_a_word() -> None:
    assert splits_among(["flowers_train", "flowers_test"]) == {"flowers_train": "train", "flowers_test": "test"}
    assert splits_among(["toy train", "toy bus"]) == {}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("training", "validation", "testing"), ("Train", "Valid", "Test"), ("train_set", "dev_set", "holdout"),
     ("train2017", "val2017", "test2017")],
)  # fmt: skip
def test_usual_spellings_of_split_folders(make_folder: Make, train: str, val: str, test: str) -> None:
    folder = scan(make_folder({f"{each}/{name}": 2 for each in (train, val, test) for name in ("cat", "dog")}))
    assert folder.classes == ("cat", "dog")
    assert sorted(set(folder.splits)) == ["test", "train", "val"]


def test_a_flat_test_folder_is_not_used_and_named(make_folder: Make) -> None:
    folder = scan(make_folder({"train/cat": 3, "train/dog": 3, "test": 4}))
    assert folder.classes == ("cat", "dog")
    assert set(folder.splits) == {"train"}
    assert "4 images in test/ are not used: it has no class folders" in layout_notes(folder)
    assert any("4 images in test/" in each.message for each in layout_problems(folder))


def test_a_stray_image_beside_class_folders_is_named(make_folder: Make) -> None:
    root = make_folder({"train": 1, "train/cat": 2, "train/dog": 2, "val/cat": 2, "val/dog": 2})
    folder = scan(root)
    assert folder.classes == ("cat", "dog")
    (note,) = [line for line in layout_notes(folder) if "not used" in line]
    assert note.startswith("1 image in train/ is not used, outside any class folder: ")


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ({"fold1/a": 2, "fold2/a": 2}, "named like folds"),
        ({"part1": 2, "part2": 2, "part3": 2}, "named like folds"),
        ({"cat/train": 2, "cat/test": 2, "dog/train": 2, "dog/test": 2}, "inside the class folders"),
        ({"cat/fold1": 2, "cat/fold2": 2, "dog/fold1": 2, "dog/fold2": 2}, "inside the class folders"),
        ({"train": 3, "val": 3, "test": 3}, "named like splits"),
        ({"cat": 2, "dog": 2, "test/cat": 2, "test/dog": 2}, "test/ looks like a split"),
        ({"trian/cat": 2, "trian/dog": 2, "test/cat": 2, "test/dog": 2}, "trian/ holds the same folders"),
        ({"images": 4, "labels": 4}, "detection or segmentation"),
        ({"test/cat": 2, "test/dog": 2}, "there is no train/"),
    ],
)
def test_what_are_no_classes_is_refused_and_found_by_check(
    make_folder: Make, folders: dict[str, int], said: str
) -> None:
    root = make_folder(folders)
    with pytest.raises(TlkitError, match=said) as caught:
        scan(root)
    assert caught.value.hint
    assert any(said in each.message for each in layout_problems(scan(root, min_classes=0)))


@pytest.mark.parametrize(
    "folders",
    [
        {"animals/cat": 3, "plants/rose": 3},
        {"cat/site1": 2, "cat/site2": 2, "dog/site1": 2, "dog/site2": 2},
        {"train": 2, "bus": 2, "tram": 2},
        {"part": 2, "whole": 2},
    ],
)
def test_ordinary_folders_still_train(make_folder: Make, folders: dict[str, int]) -> None:
    folder = scan(make_folder(folders))
    assert folder.classes == tuple(sorted({name.split("/")[0] for name in folders}))
    assert not folder.has_splits


def test_flat_files_named_by_class_are_explained(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"cat": 3, "dog": 3})
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in root.glob("*/*"):
        file.rename(flat / f"{file.parent.name}.{file.name}")
    with pytest.raises(TlkitError) as caught:
        scan(flat)
    assert "cat" in str(caught.value.hint)
    assert "dog" in str(caught.value.hint)


def test_a_loop_costs_itself_and_an_ancestor_is_not_followed(make_folder: Make) -> None:
    root = make_folder({"cat": 3, "dog": 3})
    (root / "cat" / "loop.jpg").symlink_to("loop.jpg")
    (root / "cat" / "inner").symlink_to("inner")
    (root / "dog" / "up").symlink_to("../..", target_is_directory=True)
    folder = scan(root)
    assert folder.counts()["dog"] == 3
    assert folder.counts()["cat"] in (3, 4)  # the loop named like an image is reported when it is read
    assert [path for path, _ in folder.unreadable] == ["cat/inner"]
    assert any("dog/up is not followed" in line for line in layout_notes(folder))


def refusing(refused: str) -> Callable[..., Any]:
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if str(path).endswith(refused):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    return scandir


def test_an_unreadable_class_is_an_error_and_a_folder_in_it_is_not(
    make_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"cat": 3, "dog": 3, "dog/far": 2})
    monkeypatch.setattr(os, "scandir", refusing("far"))
    folder = scan(root)
    assert folder.counts() == {"cat": 3, "dog": 3}
    assert folder.unreadable == (("dog/far", "permission denied"),)
    nothing = [Facts(content="", error="unread")] * len(folder.files)
    assert ("dog/far", "permission denied") in assess(folder, nothing, []).unreadable
    monkeypatch.setattr(os, "scandir", refusing("dog"))
    with pytest.raises(TlkitError, match="cannot read the class folder dog/: permission denied"):
        scan(root)


def test_files_without_a_usual_suffix_are_looked_into(make_folder: Make) -> None:
    root = make_folder({"cat": 5, "dog": 3})
    for file, name in zip(
        sorted((root / "cat").iterdir()), ("photo-1", "1.jpg?w=640", "1.jpg_large", "1.png.1", "2.JPG"), strict=True
    ):
        file.rename(root / "cat" / name)
    (root / "dog" / "raw.cr2").write_bytes(b"II*\0" + bytes(100))
    (root / "dog" / "read.pdf").write_bytes(b"%PDF")
    (root / "dog" / "note.txt").write_text("a note")
    (root / "dog" / "unknown").write_bytes(b"no image")
    folder = scan(root)
    assert folder.counts() == {"cat": 5, "dog": 3}
    lines = layout_notes(folder)
    assert any(line.startswith("3 files in dog/ are not used:") and "1 .cr2" in line for line in lines)
    assert "1 other file passed over: .txt" in lines


@pytest.mark.parametrize(
    "name", ["@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", "System Volume Information", ".ipynb_checkpoints",
             "__MACOSX", ".Trash-1000", "old.tlkit", "__pycache__"]
)  # fmt: skip
def test_system_folders_are_no_classes(make_folder: Make, name: str) -> None:
    folder = scan(make_folder({"cat": 2, "dog": 2, name: 2, f"cat/{name}": 2}))
    assert folder.counts() == {"cat": 2, "dog": 2}


def test_one_name_in_two_spellings(make_folder: Make) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    folder = scan(make_folder({"train/café": 2, "train/Cat": 2, f"val/{decomposed}": 1, "val/cat": 1}))
    assert folder.classes == ("café", "Cat")
    assert folder.counts("val") == {"café": 1, "Cat": 1}
    assert any("val/cat/ is taken for the class 'Cat'" in line for line in layout_notes(folder))
    assert class_doubts(folder) == []
    assert matched_names(["CAT"], ["cat", "dog"]) == {"CAT": "cat"}
    assert matched_names(["a"], ["A"]) == {"a": "A"}
    assert matched_names(["x"], ["a"]) == {}
    assert matched_names(["Cat", "CAT"], ["cat"]) == {"Cat": "cat", "CAT": "cat"}
    assert matched_names(["a", "A"], ["A"]) == {"A": "A"}


def unless_case_is_ignored(root: Path, folders: int) -> Path:
    if len(list(root.iterdir())) < folders:
        pytest.skip("this file system takes both names for one")
    return root


@pytest.mark.parametrize(("one", "two"), [("Cat", "cat"), ("cat ", "cat"), ("STRASSE", "straße")])
def test_two_spellings_side_by_side_are_one_class_and_in_doubt(make_folder: Make, one: str, two: str) -> None:
    root = unless_case_is_ignored(make_folder({one: 1, two: 2, "dog": 1}), 3)
    folder = scan(root)
    assert folder.counts() == {two: 3, "dog": 1}  # the spelling of most images
    (doubt,) = class_doubts(folder)
    assert f"'{one}/'" in doubt
    assert f"'{two}/'" in doubt
    assert f"one class, '{two}'" in doubt
    assert doubt in layout_notes(folder)
    (problem,) = layout_problems(folder)
    assert (problem.message, "one folder" in problem.advice) == (doubt, True)


def test_two_spellings_in_training_match_a_third_elsewhere(make_folder: Make) -> None:
    places = {"train/Cat": 1, "train/cat": 2, "train/dog": 2, "val/CAT": 1, "val/Cat": 2, "val/dog": 1}
    root = make_folder(places)
    unless_case_is_ignored(root / "train", 3)
    folder = scan(root)
    assert folder.counts("train") == {"cat": 3, "dog": 2}
    assert folder.counts("val") == {"cat": 3, "dog": 1}
    assert len(class_doubts(folder)) == 2


def test_letters_stay_two_classes(make_folder: Make) -> None:
    root = unless_case_is_ignored(make_folder({"A": 2, "a": 3, "b": 2}), 3)
    folder = scan(root)
    assert folder.counts() == {"A": 2, "a": 3, "b": 2}
    assert class_doubts(folder) == ["letters of which both cases are separate classes: 'A' and 'a'"]


@given(st.dictionaries(st.text("aAbB ", min_size=1, max_size=3).filter(str.strip), st.integers(0, 9), max_size=8))
def test_one_spelling_of_each_name_is_left(counts: dict[str, int]) -> None:
    spelled = one_spelling(counts)
    left = {name for name in counts if name not in spelled}
    words = [name_key(name) for name in left if len(name.strip()) > 1]
    assert len(words) == len(set(words))
    assert all(its in left and name_key(its) == name_key(name) for name, its in spelled.items())
    assert all(counts[its] >= counts[name] for name, its in spelled.items())
    assert all(len(name.strip()) > 1 for name in spelled)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_order_does_not_depend_on_the_file_system(chance: random.Random) -> None:
    names = ["1", "01", "001", "Cat", "cat", "CAT", "img2", "img10", "img02", "ü", "Ü", "a b", "a_b"]
    shuffled = list(names)
    chance.shuffle(shuffled)
    assert natural(shuffled) == natural(names)
    assert natural(names).index("img2") < natural(names).index("img10")


def test_the_same_tree_is_the_same_folder(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"1": 3, "01": 3, "Dog": 12, "dog b": 2})
    plain = scan(root)
    real = os.scandir

    class Backwards:
        def __init__(self, path: Any) -> None:
            with real(path) as entries:
                self.entries = sorted(entries, key=lambda each: each.name, reverse=True)

        def __enter__(self) -> Any:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Backwards)
    other = scan(root)
    assert isinstance(other, ImageFolder)
    assert (other.files, other.classes, other.labels) == (plain.files, plain.classes, plain.labels)
