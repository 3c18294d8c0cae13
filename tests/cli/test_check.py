"""``tlkit check`` as a user meets it: planted faults are named, nothing is changed, mistakes are one line."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran, Trained, image
from PIL import Image

import tlkit as package
from tlkit.csvtext import original
from tlkit.images.read import read_image

Tlkit = Callable[..., Ran]
Make = Callable[..., Path]


def hashes(root: Path) -> dict[str, str]:
    """Everything below a folder; files by their content."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in root.rglob("*")
    }


@pytest.fixture(scope="module")
def faulty(garden: Path, unseen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with train/ and val/, and one fault of each kind."""
    root = tmp_path_factory.mktemp("faulty") / "images"
    for folder in garden.iterdir():
        for number, file in enumerate(sorted(folder.iterdir())):
            place = root / ("val" if number % 5 == 0 else "train") / folder.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    birds, flowers = root / "train" / "birds", root / "train" / "flowers"
    shutil.copy(root / "train" / "fruit" / "lemon.png", birds / "twin.png")
    source = sorted((root / "train" / "vegetables").iterdir())[0]
    shutil.copy(source, root / "train" / "vegetables" / "original.png")
    copy = Image.fromarray(read_image(source))
    copy = copy.resize((copy.width * 7 // 10, copy.height * 7 // 10))
    copy.save(root / "val" / "vegetables" / "smaller.jpg", quality=75)
    whole = sorted(birds.glob("*.png"))[0].read_bytes()
    (root / "train" / "rare").mkdir()  # a class of one image must not stop the search for wrong labels
    shutil.copy(unseen / "fruit-pineapple.png", root / "train" / "rare" / "one.png")
    (birds / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (64, 64), "white").save(birds / "white.png")
    shutil.copy(unseen / "flowers-red-gazania.png", flowers / "really.jpg")
    shutil.copy(unseen / "flowers-yellow-flower.png", birds / "wrong.png")
    image(1, size=(300, 40)).save(flowers / "panorama.png")
    return root


def groups(result: dict[str, list[list[str]]], field: str) -> list[set[str]]:
    return [set(group) for group in result[field]]


COPIES = {"train/vegetables/original.png", "val/vegetables/smaller.jpg"}
TWINS = {"train/birds/twin.png", "train/fruit/lemon.png"}


def test_planted_faults_are_named_and_nothing_is_changed(tlkit: Tlkit, faulty: Path, tmp_path: Path) -> None:
    before = hashes(faulty)
    ran = tlkit("check", faulty, "--no-suspects", "--json", "--strict", "--report", "r.csv", cwd=tmp_path)
    assert ran.code == 2, ran.err
    assert hashes(faulty) == before
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
    assert ran.out.count("\n") == 1
    assert ran.err.splitlines() == ["Starting", f"Checking: {ran.json['images']}", "Looking for copies"]
    result = ran.json
    assert result["images"] == sum(result["classes"].values()) == sum(1 for digest in before.values() if digest)
    assert [row["file"] for row in result["unreadable"]] == ["train/birds/cut.png"]
    assert "truncated" in result["unreadable"][0]["error"]
    assert result["wrong_extension"] == [{"file": "train/flowers/really.jpg", "format": "PNG"}]
    assert result["blank"] == ["train/birds/white.png"]
    assert result["extreme"] == ["train/flowers/panorama.png"]
    assert TWINS in groups(result, "duplicates")
    assert groups(result, "conflicts") == [TWINS]
    (leak,) = groups(result, "leaks")
    assert leak >= COPIES
    assert leak in groups(result, "near_duplicates")
    assert result["suspects"] == []
    assert result["suspects_by"] == ""
    assert result["ok"] is False

    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    told = {(row["problem"], row["file"]): row["detail"] for row in rows}
    assert list(rows[0]) == ["file", "problem", "detail"]
    assert "truncated" in told["unreadable", "train/birds/cut.png"]
    assert ("blank", "train/birds/white.png") in told
    assert "PNG" in told["wrong_extension", "train/flowers/really.jpg"]
    ((first, second),) = [(row["file"], row["detail"]) for row in rows if row["problem"] == "conflicts"]
    assert first in TWINS
    assert (TWINS - {first}).pop() in second
    assert [row["problem"] for row in rows if row["problem"] in ("leaks", "conflicts", "unreadable")] == [
        "leaks",
        "conflicts",
        "unreadable",
    ]


def test_by_default_wrong_labels_are_looked_for_too(tlkit: Tlkit, faulty: Path, tmp_path: Path) -> None:
    before = hashes(faulty)
    ran = tlkit("check", faulty, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert hashes(faulty) == before
    assert list(tmp_path.iterdir()) == []
    result = ran.json
    (suspect,) = [row for row in result["suspects"] if row["file"] == "train/birds/wrong.png"]
    assert (suspect["label"], suspect["looks_like"]) == ("birds", "flowers")
    assert suspect["margin"] < -1
    assert "efficientnet-lite0" in result["suspects_by"]
    assert result["not_searched"] == ["rare"]
    assert result["suspects_by"].endswith("; not in rare: fewer than two different images")
    named = {row["file"] for row in result["suspects"]}
    assert not named & {*TWINS, "train/birds/white.png"}  # these are told already, with a better reason
    assert len(named) <= 10
    (leak,) = groups(result, "leaks")
    assert leak >= COPIES
    assert [row["file"] for row in result["unreadable"]] == ["train/birds/cut.png"]


def test_a_bundle_finds_wrong_labels(
    tlkit: Tlkit, trained: Trained, garden: Path, unseen: Path, tmp_path: Path
) -> None:
    root = tmp_path / "images"
    shutil.copytree(garden, root)
    shutil.copy(unseen / "birds-magpie.png", root / "flowers" / "wrong.png")
    shutil.copytree(garden / "birds", root / "a class it does not know")
    ran = tlkit("check", root, "--model", trained.bundle, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "flowers/wrong.png  in flowers, looks like birds" in ran.out
    assert f"wrong labels: predictions of {trained.bundle}" in ran.out
    assert "28 images with copies in another class" in ran.out
    assert "... and 23 more" in ran.out
    assert ran.out.index("copies in another class") < ran.out.index("probably wrong")


def test_a_bundle_that_knows_none_of_the_classes(trained: Trained, make_folder: Make, tmp_path: Path) -> None:
    with pytest.raises(package.TlkitError) as caught:
        package.check(make_folder({"a": 2, "b": 2}), model=trained.bundle)
    assert "has none of the classes in" in caught.value.message
    assert caught.value.hint == "its classes are birds, flowers, fruit, vegetables"


def test_a_clean_folder_passes_and_a_report_of_it_is_empty(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 12, "b": 12})
    ran = tlkit("check", root, "--no-suspects", "--strict", "--report", tmp_path / "r.csv", "--workers", "1")
    assert ran.code == 0, ran.out
    assert ran.out.startswith("24 files in 2 classes: no problems found\n")
    assert (tmp_path / "r.csv").read_text().split() == ["file,problem,detail"]


def test_without_suspects_no_network_library_is_loaded(make_folder: Make) -> None:
    root = make_folder({"a": 3, "b": 3})
    code = (
        "import sys\n"
        "from tlkit.api.check import check\n"
        "heavy = lambda: {'tensorflow', 'keras', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy(), f'imported: {heavy()}'\n"
        "assert check(sys.argv[1], suspects=False).images == 6\n"
        "assert not heavy(), f'used: {heavy()}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_report_with_images_side_by_side(tlkit: Tlkit, faulty: Path, tmp_path: Path) -> None:
    ran = tlkit("check", faulty, "--no-suspects", "--report", tmp_path / "page.html")
    assert ran.code == 0, ran.err
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    for file in (*TWINS, *COPIES, "train/flowers/panorama.png"):
        assert f'alt="{file}"' in page
    assert "train/birds/cut.png: " in page
    assert "file,problem,detail" not in page


def refused(ran: Ran) -> str:
    assert ran.code == 2, (ran.out, ran.err)
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert [line for line in ran.err.splitlines() if line.startswith("error: ")]
    return ran.err


def test_a_report_never_overwrites_nor_lies_among_the_images(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 2, "b": 2})
    (tmp_path / "taken.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "door").symlink_to(root / "a")
    before = hashes(tmp_path)
    for place, message in {
        "taken.csv": "output exists",
        "link.csv": "output exists",
        "images": "output exists",
        "images/r.csv": "inside the image folder",
        "door/r.csv": "inside the image folder",
        "missing/r.csv": "no such folder: missing",
    }.items():
        assert message in refused(tlkit("check", "images", "--no-suspects", "--report", place, cwd=tmp_path))
    assert hashes(tmp_path) == before


def test_folders_that_cannot_be_checked(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 2, "b": 2})
    (tmp_path / "empty").mkdir()
    cases = {
        "imagez": "no such folder: imagez\nhint: did you mean images?",
        "images/a/0.png": "not a folder",
        "empty": "no images in ",
        "images/a": "no class folders in ",
    }
    for place, message in cases.items():
        assert message in refused(tlkit("check", place, "--report", "r.csv", cwd=tmp_path))
    assert "hint: IMAGES must hold" in tlkit("check", "images/a", cwd=tmp_path).err
    assert "no such bundle: nothing.tlkit" in refused(tlkit("check", root, "--model", "nothing.tlkit"))
    assert not (tmp_path / "r.csv").exists()


def test_one_class_is_a_finding_not_an_error(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    make_folder({"only": 12})
    ran = tlkit("check", "images", "--no-suspects", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "1 class\n  -> a classifier needs at least two class folders" in ran.out
    assert tlkit("check", "images", "--no-suspects", "--strict", cwd=tmp_path).code == 2


def test_odd_names_are_named(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"new\nline": 2, "🐢 [bold]": 2})
    (root / "🐢 [bold]" / "=1+1.png").write_bytes((root / "new\nline" / "0.png").read_bytes())
    (root / "new\nline" / "cut\t.jpg").write_bytes(b"")
    ran = tlkit("check", root, "--no-suspects", "--json", "--report", tmp_path / "r.csv")
    assert ran.code == 0, ran.err
    assert ran.json["classes"] == {"new\nline": 3, "🐢 [bold]": 3}
    assert groups(ran.json, "conflicts") == [{"new\nline/0.png", "🐢 [bold]/=1+1.png"}]
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        rows = [[original(cell) for cell in row[:2]] for row in csv.reader(file)]
    assert ["new\nline/cut\t.jpg", "unreadable"] in rows
    shown = tlkit("check", root, "--no-suspects")
    assert "🐢 [bold]/=1+1.png" in shown.out


def test_probes_are_left_out_where_a_class_is_too_small_or_nothing_can_be_read(make_folder: Make) -> None:
    root = make_folder({"a": 3, "b": 1})
    found = package.check(root)
    assert found.suspects_by.startswith("not checked")
    assert found.small_classes == {"a": 3, "b": 1}
    for file in root.rglob("*.png"):
        file.write_bytes(b"nothing")
    found = package.check(root)
    assert len(found.unreadable) == 4
    assert not found.ok
    assert found.suspects_by.startswith("not checked")


def test_a_sure_bundle_gives_valid_json(trained: Trained, garden: Path) -> None:
    class Sure(package.Bundle):
        def probabilities(self, pixels: np.ndarray) -> np.ndarray:
            return np.tile(np.eye(4, dtype=np.float32)[0], (len(pixels), 1))

    bundle = Sure(trained.bundle, package.load(trained.bundle).manifest)
    found = package.check(garden, model=bundle)
    assert {row[0].split("/")[0] for row in found.suspects} <= {"flowers", "fruit", "vegetables"}
    assert found.suspects
    json.dumps(found.to_json(), allow_nan=False)
