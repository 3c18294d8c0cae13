from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tlkit.errors import TlkitError
from tlkit.images.folder import scan
from tlkit.images.tree import walk_images

Make = Callable[..., Path]


def test_classes_and_files_are_in_natural_order(make_folder: Make) -> None:
    root = make_folder({"class10": 12, "class2": 1, "Class1": 1})
    folder = scan(root)
    assert folder.classes == ("Class1", "class2", "class10")
    assert folder.files[2:5] == ("class10/0.png", "class10/1.png", "class10/2.png")
    assert folder.files[-1] == "class10/11.png"
    assert folder.labels == (0, 1, *[2] * 12)
    assert not folder.has_splits


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Validation"])
def test_own_splits_are_respected(make_folder: Make, val: str) -> None:
    root = make_folder({"train/a": 3, "train/b": 2, f"{val}/a": 1, f"{val}/b": 2, "test/b": 1})
    folder = scan(root)
    assert folder.classes == ("a", "b")
    assert folder.counts("train") == {"a": 3, "b": 2}
    assert folder.counts("val") == {"a": 1, "b": 2}
    assert folder.counts("test") == {"a": 0, "b": 1}
    assert folder.has_splits


def test_a_class_may_be_called_train(make_folder: Make) -> None:
    root = make_folder({"train": 2, "bus": 2})
    assert scan(root).classes == ("bus", "train")
    root = make_folder({"train/ice": 2, "train/tgv": 2, "bus/city": 2, "tram": 2}, name="three")
    assert scan(root).classes == ("bus", "train", "tram")


@pytest.mark.parametrize(
    "names",
    [
        ("training", "testing"),
        ("Train", "VALID"),
        ("train_set", "test-set"),
        ("trn", "dev"),
        ("train2017", "val2017"),
        ("train", "hold-out"),
    ],
)
def test_usual_spellings_of_splits(make_folder: Make, names: tuple[str, str]) -> None:
    folder = scan(make_folder({f"{name}/{each}": 2 for name in names for each in ("cat", "dog")}))
    assert folder.classes == ("cat", "dog")
    assert folder.splits.count("train") == 4
    assert [name for _, name in folder.split_folders] == sorted(names, key=str.lower)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"train": 2, "test": 2}, "named like splits"),
        ({"fold1": 2, "fold2": 2}, "named like folds"),
        ({"fold1/a": 2, "fold1/b": 2, "fold2/a": 2, "fold2/b": 2}, "named like folds"),
        ({"cat/train": 2, "cat/test": 2, "dog/train": 2, "dog/test": 2}, "inside the class folders"),
        ({"cat/fold1": 2, "cat/fold2": 2, "dog/fold1": 2, "dog/fold2": 2}, "inside the class folders"),
        ({"cat": 2, "dog": 2, "test/cat": 2, "test/dog": 2}, "test/ looks like a split"),
        ({"trian/cat": 2, "trian/dog": 2, "test/cat": 2, "test/dog": 2}, "trian/ holds the same folders"),
        ({"images": 2, "masks": 2}, "detection or segmentation"),
        ({"test/cat": 2, "test/dog": 2}, "there is no train/"),
    ],
)
def test_layouts_that_are_refused(make_folder: Make, places: dict[str, int], said: str) -> None:
    root = make_folder(places)
    with pytest.raises(TlkitError, match=said) as caught:
        scan(root)
    assert caught.value.hint
    assert any(said in problem.message for problem in scan(root, min_classes=0).problems)


def test_strays_do_not_make_classes_of_splits(make_folder: Make) -> None:
    root = make_folder({"train/cat": 2, "train/dog": 2, "test": 3})
    (root / "train" / "preview.png").write_bytes((root / "test" / "0.png").read_bytes())
    folder = scan(root)
    assert folder.classes == ("cat", "dog")
    assert {(each.place, each.files) for each in folder.unused} == {("test/", 3), ("train/", 1)}


def test_files_without_a_usable_suffix_are_told_by_content(make_folder: Make) -> None:
    root = make_folder({"cat": 4, "dog": 2})
    for number, name in enumerate(["photo-1", "1.jpg?w=640", "1.jpg_large", "1.jpg.1"]):
        (root / "cat" / f"{number}.png").rename(root / "cat" / name)
    (root / "cat" / "raw.cr2").write_bytes(b"II*\0")
    (root / "cat" / "paper.pdf").write_bytes(b"%PDF-")
    (root / "cat" / "note").write_text("no image")
    folder = scan(root)
    assert folder.counts() == {"cat": 4, "dog": 2}
    assert folder.unused[0].line() == "3 files in cat/ are not used: 1 without a usual suffix, 1 .cr2, 1 .pdf"


def test_one_name_in_two_spellings_is_one_class(make_folder: Make) -> None:
    folder = scan(make_folder({"train/caf\u00e9": 2, "train/Dog": 2, "val/cafe\u0301": 1, "val/dog": 1}))
    assert folder.classes == ("caf\u00e9", "Dog")
    assert folder.counts("val") == {"caf\u00e9": 1, "Dog": 1}
    assert len(folder.problems) == 2


def test_an_unreadable_class_is_refused_and_an_unreadable_folder_in_it_named(
    make_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"cat": 2, "cat/in": 1, "dog": 2})
    real, forbidden = os.scandir, "in"

    def scandir(path: str) -> object:
        if Path(path).name == forbidden:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    folder = scan(root)
    assert folder.counts() == {"cat": 2, "dog": 2}
    assert folder.unreadable == (("cat/in", "permission denied"),)
    forbidden = "dog"
    with pytest.raises(TlkitError, match="cannot read the class folder dog/"):
        scan(root)


def test_a_link_to_a_folder_above_it_is_not_followed(make_folder: Make) -> None:
    root = make_folder({"cat": 2, "dog": 2})
    (root / "cat" / "up").symlink_to("..")
    (root / "cat" / "loop").symlink_to("loop")
    folder = scan(root)
    assert folder.counts() == {"cat": 2, "dog": 2}
    assert [each.place for each in folder.unused] == ["cat/up"]
    assert [file for file, _ in folder.unreadable] == ["cat/loop"]


def test_images_in_folders_below_a_class_belong_to_it(make_folder: Make) -> None:
    root = make_folder({"a/monday": 2, "a/tuesday": 1, "b": 2})
    assert scan(root).counts() == {"a": 3, "b": 2}


def test_hidden_things_bundles_and_other_files_are_passed_over(make_folder: Make) -> None:
    root = make_folder({"a": 2, "b": 2, ".git": 2, "old.tlkit": 2, "__MACOSX": 2, "empty": 0})
    (root / "a" / "notes.txt").write_text("not an image")
    (root / "a" / ".DS_Store").write_bytes(b"\0")
    (root / "a" / "._1.png").write_bytes(b"\0")
    (root / "loose.png").write_bytes((root / "a" / "0.png").read_bytes())
    folder = scan(root)
    assert folder.counts() == {"a": 2, "b": 2}
    assert [(each.place, each.files, each.examples) for each in folder.unused if each.images] == [
        ("", 1, ("loose.png",))
    ]
    assert folder.empty_classes == ("empty",)


@pytest.mark.parametrize(
    "name", ["..weird name", "żółw 🐢", "-dash", "a b  c", "a'b\"c", "new\nline", "<script>", "[x]"]
)
def test_odd_class_names_are_class_names(make_folder: Make, name: str) -> None:
    folder = scan(make_folder({name: 2, "plain": 2}))
    assert set(folder.classes) == {name, "plain"}
    assert folder.counts()[name] == 2


def test_link_loops_end_and_links_count_once(make_folder: Make) -> None:
    root = make_folder({"a": 2, "b": 2})
    (root / "a" / "loop").symlink_to(root / "a")
    (root / "a" / "up").symlink_to(root)
    (root / "c").symlink_to(root)
    folder = scan(root)
    assert folder.counts()["b"] == 2
    assert folder.classes == ("a", "b")
    assert len(walk_images(root)) == 4


def test_linked_class_folders_are_used(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 2})
    elsewhere = make_folder({"b": 3}, name="elsewhere")
    (root / "b").symlink_to(elsewhere / "b")
    assert scan(root).counts() == {"a": 2, "b": 3}


def test_what_cannot_be_used_is_said(make_folder: Make, tmp_path: Path) -> None:
    def message(path: Path) -> tuple[str, str]:
        with pytest.raises(TlkitError) as caught:
            scan(path)
        return caught.value.message, caught.value.hint or ""

    root = make_folder({"only": 3})
    assert "no such folder" in message(tmp_path / "imagez")[0]
    assert str(tmp_path / "images") in message(tmp_path / "imagez")[1]
    assert "not a folder" in message(root / "only" / "0.png")[0]
    assert "only one class ('only')" in message(root)[0]
    assert "3 images outside class folders" in message(root / "only")[0]
    (tmp_path / "empty").mkdir()
    assert "no images" in message(tmp_path / "empty")[0]
    nested = make_folder({"wrapped/a": 2, "wrapped/b": 2}, name="nested")
    assert str(nested / "wrapped") in message(nested)[1]
    assert "no such folder" in message(Path("a\0b"))[0]
