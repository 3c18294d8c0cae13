"""Images that come in groups: kept together where that is asked for, found where it is not."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import PLAIN_FREEZE, SAMPLES, Ran
from PIL import Image

pytestmark = pytest.mark.usefixtures("one_bundle")

Tlkit = Callable[..., Ran]
SITES, EACH = 16, 6


@pytest.fixture(scope="module")
def sites(make_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The same object in both classes: only the colour of the background tells, and each site has its own."""

    def make(root: Path) -> None:
        rng = np.random.default_rng(0)
        for site in range(SITES):
            folder = root / ("cat", "dog")[site % 2] / f"site{site}"
            folder.mkdir(parents=True)
            colour = rng.integers(20, 235, 3)
            for number in range(EACH):
                pixels = np.clip(colour + rng.normal(0, 25, (64, 64, 3)), 0, 255)
                y, x = rng.integers(14, 50, 2)
                pixels[y - 10 : y + 10, x - 10 : x + 10] = 128 + rng.normal(0, 20, (20, 20, 3))
                Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(folder / f"{number}.png")

    return make_once("grouped-sites", make)


def site_of(root: Path) -> dict[str, str]:
    """The site of each image by the hash of its content, as in a bundle."""
    import hashlib

    files = root.rglob("*.png")
    return {hashlib.sha256(file.read_bytes()).hexdigest(): file.parent.name for file in files}


def test_check_finds_groups_that_nobody_named(tlkit: Tlkit, sites: Path) -> None:
    ran = tlkit("check", sites, "--json")
    found = ran.json["groups"]
    assert (found["by"], found["asked"], found["groups"]) == ("folder", False, SITES)
    assert found["random_accuracy"] - found["grouped_accuracy"] >= 0.15
    low, high = found["interval"]
    assert low <= found["grouped_accuracy"] <= high
    assert not ran.json["ok"]
    said = tlkit("check", sites).out.replace("\n", " ")
    assert "if images are mixed at random" in said
    assert re.search(r"on a new sub-folder, \d+ images in \d+ groups: your images come in groups", said)
    assert "train with --groups folder" in said


def test_recommend_names_the_option_and_a_plan_keeps_it(tlkit: Tlkit, sites: Path, tmp_path: Path) -> None:
    quick = (*PLAIN_FREEZE[2:4], "--image-size", "64", "--features", "last", "--no-pilot")
    ran = tlkit("recommend", sites, *quick)
    assert "your images come in groups" in ran.out
    assert ran.out.splitlines()[-1].endswith("--groups folder") or "--groups folder" in ran.out.splitlines()[-1]
    plan = tmp_path / "plan.json"
    asked = tlkit("recommend", sites, *quick, "--groups", "folder", "--plan", plan, "--json")
    assert asked.json["groups"]["asked"]
    assert asked.json["plan"]["groups"] == "folder"
    assert json.loads(plan.read_text())["groups"] == "folder"
    assert asked.json["measured"]["last"] < 0.8  # the probes are by group, too
    refused = tlkit("train", sites, "--plan", plan, "--groups", "names", "--output", tmp_path / "no.tlkit")
    assert (refused.code, "--groups is decided by --plan" in refused.err) == (2, True)


def test_train_keeps_groups_on_one_side(tlkit: Tlkit, sites: Path, tmp_path: Path) -> None:
    table = tmp_path / "sites.csv"
    rows = [f"{file.relative_to(sites).as_posix()},{file.parent.name}" for file in sites.rglob("*.png")]
    table.write_text("\n".join(["file,site", *rows]))
    quick = (*PLAIN_FREEZE, "--image-size", "96", "--no-report")
    ran = tlkit("train", sites, *quick, "--groups", "sites.csv:site", "--output", "m.tlkit", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "16 groups" in ran.err
    assert "(too few images for a test set)" in ran.out
    manifest = json.loads((tmp_path / "m.tlkit" / "tlkit.json").read_text())
    sides = defaultdict(set)
    for content, site in site_of(sites).items():
        sides[site].add(manifest["split"][content])
    assert Counter(map(tuple, sides.values())) == {("train",): 12, ("val",): 4}
    assert manifest["groups"]["asked"]
    assert manifest["metrics"]["cv_accuracy"] < 0.8  # mixed at random it would be nearly 1
    plan = json.loads((tmp_path / "m.tlkit" / "plan.json").read_text())
    assert plan["groups"] == "sites.csv:site"
    again = ("train", sites, "--plan", "m.tlkit/plan.json", "--output", "again.tlkit")
    lost = tlkit(*again, cwd=tmp_path)
    assert (lost.code, "--groups sites.csv:site" in lost.err) == (2, True)
    found = tlkit(*again, "--groups", "sites.csv:site", "--json", cwd=tmp_path)
    assert found.json["metrics"] == manifest["metrics"]


def test_train_warns_where_groups_are_found(tlkit: Tlkit, sites: Path, tmp_path: Path) -> None:
    ran = tlkit("train", sites, *PLAIN_FREEZE, "--image-size", "96", "--output", tmp_path / "m.tlkit")
    assert "your images come in groups: the accuracy on a new sub-folder is probably lower, about" in ran.out
    assert "train with --groups folder" in ran.out
    page = (tmp_path / "m.tlkit" / "report.html").read_text()
    assert "your images come in groups" in page


def test_no_alarm_on_the_sample(tlkit: Tlkit) -> None:
    assert tlkit("check", SAMPLES, "--json").json["groups"] is None


@pytest.mark.parametrize("command", ["train", "recommend", "check"])
@pytest.mark.parametrize(("value", "message"), [("folders", "did you mean 'folder'"), ("x.csv:site", "no such file")])
def test_mistakes_are_told(tlkit: Tlkit, sites: Path, tmp_path: Path, command: str, value: str, message: str) -> None:
    ran = tlkit(command, sites, "--groups", value, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert not list(tmp_path.iterdir())


def test_groups_that_leave_nothing_to_hold_out(tlkit: Tlkit, make_folder: Callable[..., Path], tmp_path: Path) -> None:
    ran = tlkit("train", make_folder({"a": 6, "b": 6}), "--groups", "^[ab]", "--output", tmp_path / "m.tlkit")
    assert ran.code == 2
    assert "no class has images of two groups" in ran.err
    assert not list(tmp_path.glob("m.tlkit*"))


def test_groups_in_two_splits_are_leaks(tlkit: Tlkit, sites: Path, tmp_path: Path) -> None:
    root = tmp_path / "images"
    for split, site in (("train", 0), ("train", 1), ("train", 2), ("train", 3), ("val", 4), ("val", 5)):
        kind = ("cat", "dog")[site % 2]
        shutil.copytree(sites / kind / f"site{site}", root / split / kind / f"site{site}")
    moved = root / "val" / "cat" / "site0"
    moved.mkdir()
    shutil.move(root / "train" / "cat" / "site0" / "0.png", moved)
    ran = tlkit("check", root, "--no-suspects", "--groups", "folder", "--json")
    assert ran.json["group_leaks"] == ["site0"]
    asked = ("--groups", "folder", "--drop-leaks", "--output", "m.tlkit", "--json")
    trained = tlkit("train", root, *PLAIN_FREEZE, *asked, cwd=tmp_path)
    assert "groups with images in more than one split: 1, such as site0; 5 training images left out" in trained.err
    assert trained.json["images"]["train"] == 4 * EACH - EACH
