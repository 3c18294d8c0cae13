"""Which images and classes a folder holds: order, links, hidden things, and what is said where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tlkit.errors import TlkitError
from tlkit.images.folder import scan
from tlkit.images.tree import read_tree

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
    assert len(read_tree(root).files()) == 4


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
