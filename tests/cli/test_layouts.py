"""What the commands say of folders that are not laid out as they expect."""

from __future__ import annotations

import html
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import PLAIN_FREEZE, Ran, Trained


def test_train_says_which_classes_its_accuracy_does_not_cover(tlkit: Any, make_folder: Any, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 6, "train/dog": 6, "train/fox": 6, "val/cat": 3, "val/dog": 3, "train/owl": 0})
    ran: Ran = tlkit("train", root, *PLAIN_FREEZE, "--image-size", 64, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "warning: no validation images of fox: how well it is recognised is not known" in ran.out
    assert "no images in: owl/" in ran.err
    report = (tmp_path / "images.tlkit" / "report.html").read_text(encoding="utf-8")
    assert "no validation images of fox" in report


def test_what_is_not_used_is_in_the_json(tlkit: Any, make_folder: Any, tmp_path: Path) -> None:
    root = make_folder({"training/cat": 5, "training/dog": 5, "test": 2, "val/dog": 1})
    ran: Ran = tlkit("train", root, *PLAIN_FREEZE, "--image-size", 64, "--no-report", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    (flat,) = [each for each in ran.json["unused"] if each["images"]]
    assert (flat["place"], flat["images"]) == ("test/", 2)
    assert ran.json["warnings"] == [
        "no validation images of cat: how well it is recognised is not known",
        "only 1 validation image: an accuracy of one image says nothing",
    ]
    checked: Ran = tlkit("check", root, "--no-suspects", "--json", cwd=tmp_path)
    assert any("2 images in test/" in each["problem"] for each in checked.json["layout"])


def test_folders_that_are_no_classes_end_before_the_work(tlkit: Any, make_folder: Any, tmp_path: Path) -> None:
    root = make_folder({"fold1/a": 2, "fold1/b": 2, "fold2/a": 2, "fold2/b": 2})
    for command in ("train", "recommend"):
        ran: Ran = tlkit(command, root, cwd=tmp_path)
        assert ran.code == 2
        assert "named like folds" in ran.err
        assert "hint:" in ran.err
    assert list(tmp_path.glob("*.tlkit*")) == []


def test_drawings_do_not_become_a_class(tlkit: Any, trained: Trained, make_folder: Any) -> None:
    root = make_folder({"cat": 2, "dog": 2})
    ran: Ran = tlkit("explain", root, "--model", trained.bundle, cwd=root)
    assert ran.code == 2
    assert "inside the image folder" in ran.err
    assert not (root / "explained").exists()


def test_evaluate_matches_classes_regardless_of_case(
    tlkit: Any, trained: Trained, garden: Path, tmp_path: Path
) -> None:
    place = tmp_path / "fresh"
    (place / "BIRDS").mkdir(parents=True)
    for number, file in enumerate(sorted((garden / "birds").iterdir())[:3]):
        (place / "BIRDS" / f"{number}{file.suffix}").write_bytes(file.read_bytes())
    ran: Ran = tlkit("evaluate", place, "--model", trained.bundle, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["images"] == 3
    assert ran.json["unknown_classes"] == {}


def test_doubts_about_classes_stand_beside_the_accuracy(tlkit: Any, make_folder: Any, tmp_path: Path) -> None:
    root = make_folder({"Cat": 6, "cat": 4, "dog": 9, "owl": 0})
    if len(list(root.iterdir())) < 4:
        pytest.skip("this file system takes both names for one")
    shutil.copy(root / "Cat" / "0.png", root / "dog" / "copy.png")
    ran: Ran = tlkit("train", root, *PLAIN_FREEZE, "--image-size", 64, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    one_class = "'Cat/' and 'cat/' are taken for one class, 'Cat': their names differ only in case or spaces"
    assert ran.json["classes"] == ["Cat", "dog"]
    assert ran.json["warnings"] == [
        one_class,
        "no images in: owl/",
        "2 images with a copy in another class, such as Cat/0.png = dog/copy.png: one of their labels is wrong",
    ]
    assert f"note: {one_class}" in ran.err
    page = html.unescape((tmp_path / "images.tlkit" / "report.html").read_text(encoding="utf-8"))
    assert page.count(one_class) == 1
    evaluated: Ran = tlkit("evaluate", root, "--model", tmp_path / "images.tlkit", "--json", cwd=tmp_path)
    assert evaluated.json["warnings"][0] == one_class
    assert (evaluated.json["images"], evaluated.json["unknown_classes"]) == (20, {})


def test_every_command_names_the_files_that_it_does_not_use(
    tlkit: Any, trained: Trained, make_folder: Any, tmp_path: Path
) -> None:
    root = make_folder({"test/birds": 2, "test/flowers": 2, "train/birds": 1})
    for place in ("train", "test"):
        (root / place / "birds" / "raw.cr2").write_bytes(b"II*\0")
    model = ("--model", trained.bundle)
    ran: Ran = tlkit("evaluate", root, *model, "--json", cwd=tmp_path)
    assert "note: 1 file in test/birds/ is not used: 1 .cr2" in ran.err
    assert [each["place"] for each in ran.json["unused"]] == ["test/birds/"]  # train/ is not evaluated
    for command in (("predict", *model), ("explain", *model), ("embed", "--output", "v.npz")):
        ran = tlkit(command[0], root, *command[1:], cwd=tmp_path)
        assert ran.code == 0, ran.err
        assert f"note: 2 files in {root}/ are not used: 2 .cr2" in ran.err
