"""``tlkit recommend`` and what follows from it: ``train --strategy auto`` and ``--plan``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ran, image
from PIL import Image

import tlkit as package
from tlkit.cli.recommend import _command
from tlkit.errors import TlkitError

pytestmark = pytest.mark.usefixtures("one_bundle")

Tlkit = Callable[..., Ran]
Make = Callable[..., Path]
STRATEGIES = ["freeze", "early-layers", "last-layers", "fine-tune"]
SMALL: dict[str, Any] = {"backbone": "efficientnet-lite0", "image_size": 64, "pilot": False}  # for speed


@pytest.fixture(scope="module")
def advised(tlkit: Tlkit, garden: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The sample's advice, as JSON, with its page and its plan."""
    place = tmp_path_factory.mktemp("advised")
    written = ("--report", "advice.html", "--plan", "plan.json")
    ran = tlkit("recommend", garden, "--image-size", 96, "--no-pilot", "--json", *written, cwd=place)
    assert ran.code == 0, ran.err
    return place, ran


def quickly(advice: Ran) -> tuple[str, ...]:
    """Options by which what is advised takes little time."""
    return () if advice.json["strategy"] == "freeze" else ("--epochs", "1", "--learning-rate", "3e-4")


def test_the_json_is_that_of_the_contract(advised: tuple[Path, Ran]) -> None:
    found = advised[1].json
    assert found["dataset"]["classes"] == 4
    assert found["dataset"]["images"] == 63
    assert found["dataset"]["per_class_min"] <= found["dataset"]["per_class_median"]
    assert found["size"]["level"] == "small"
    assert "63" in found["size"]["why"]
    assert 0.4 < found["similarity"]["score"] < 0.8
    assert any("apple" in line or "lemon" in line for line in found["similarity"]["evidence"])
    assert found["strategy"] in STRATEGIES
    assert found["backbone"] in {each["backbone"] for each in found["frozen"]}
    assert found["frozen"][0]["chosen"]
    assert [row["strategy"] for row in found["expected"]] == STRATEGIES
    for row in found["expected"]:
        assert row["seconds"] > 0
        if row["accuracy"] is not None:
            assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    assert found["expected"][0]["measured"] is True
    assert found["expected"][0]["accuracy"] > 0.7
    assert found["reasons"]
    assert found["plan"]["strategy"] == found["strategy"]


def test_page_and_plan_are_written(advised: tuple[Path, Ran]) -> None:
    place, ran = advised
    assert sorted(path.name for path in place.iterdir()) == ["advice.html", "plan.json"]
    assert json.loads((place / "plan.json").read_text()) == ran.json["plan"]
    page = (place / "advice.html").read_text()
    assert ran.json["reasons"][0].split(":")[0] in page
    assert "--plan plan.json" in page
    assert page.count("<svg") == 2


def test_the_report_on_the_terminal_says_what_and_why(tlkit: Tlkit, garden: Path, tmp_path: Path) -> None:
    ran = tlkit("recommend", garden, "--image-size", 64, "--no-pilot", cwd=tmp_path)
    assert ran.code == 0, ran.err
    kinds = ("Predicted", "Cross-validated")
    assert ran.out.startswith(tuple(f"Recommended: {name}. {kind} accuracy " for name in STRATEGIES for kind in kinds))
    for part in (
        "\n> ",  # the recommended row
        "Similarity to ImageNet is 0.",
        "90% interval",
        "cross-validated",
        "More images: ",
        "\nnext: tlkit train ",
    ):
        assert part in ran.out
    assert list(tmp_path.iterdir()) == []


def test_a_plan_is_carried_out_and_the_features_are_reused(
    tlkit: Tlkit, garden: Path, advised: tuple[Path, Ran], tmp_path: Path
) -> None:
    ran = tlkit("train", garden, "--plan", advised[0] / "plan.json", *quickly(advised[1]), "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["features_reused"] == 79
    assert ran.json["strategy"] in (advised[1].json["strategy"], "freeze")  # which is what is kept if it is better
    assert (ran.json["tuning"] is None) == (advised[1].json["strategy"] == "freeze")
    assert ran.json["plan"]["expected"] == advised[1].json["plan"]["expected"]
    assert advised[1].json["reasons"][0] in ran.json["plan"]["reasons"]
    accuracy, low, high = ran.json["plan"]["expected"]
    assert low <= accuracy <= high
    bundled = json.loads((tmp_path / "garden.tlkit" / "plan.json").read_text())
    assert bundled == ran.json["plan"]


def test_auto_does_what_recommend_says_and_prints_both(tlkit: Tlkit, garden: Path, small: Path, tmp_path: Path) -> None:
    advice = tlkit("recommend", garden, "--backbone", small, "--no-pilot", "--json", cwd=tmp_path)
    assert advice.code == 0, advice.err
    ran = tlkit("train", garden, "--backbone", small, *quickly(advice), cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert f"strategy {advice.json['strategy']}: " in ran.err
    expected = advice.json["plan"]["expected"][0]
    assert f"predicted accuracy was {expected:.1%}" in ran.out
    assert "validation accuracy" in ran.out


def test_the_rule_advises_by_size_and_similarity(garden: Path) -> None:
    found = package.recommend(garden, advisor="rule")
    assert found.measured.advice.by == "rule"
    assert "two-by-two" in found.measured.advice.reasons[0]
    assert found.plan.strategy == "freeze"  # small and similar


@pytest.mark.parametrize("is_unclear", [True, False])
def test_a_pilot_is_run_if_it_is_unclear_whether_fine_tuning_helps(
    make_folder: Make, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_unclear: bool
) -> None:
    images, place = make_folder({"a": 40, "b": 40}), tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr("tlkit.api.recommend.measure.is_worthwhile", lambda *_: is_unclear)
    result = package.recommend(images, backbone=str(small), pilot=True)
    found, train = result.to_json(), f"tlkit train {images}"
    asked = {"backbone": str(small), "pilot": True}
    assert _command(images, Path("plan.json"), result, asked) == f"{train} --plan plan.json --backbone {small}"
    if is_unclear:
        # train would come to another advice by itself
        command = _command(images, None, result, asked)
        assert f"--strategy {found['strategy']}" in command
        assert f"--backbone {small}" in command
        assert "--pilot" not in command
        assert found["pilot"]["images"] == found["dataset"]["images"] - 2 * 21  # a third of each class
        assert found["pilot"]["steps"] == 42  # 0.8 of 8 times the root of 42
        assert found["measured"]["pilot"] <= 1
        assert sum("pilot: 42 steps" in line for line in found["reasons"]) == 1
        assert "pilot: 42 steps" in " ".join(found["plan"]["reasons"])
    else:
        assert found["pilot"] is None
        assert found["measured"]["pilot"] is None
        assert _command(images, None, result, asked) == f"{train} --backbone {small}"
    assert list(place.iterdir()) == []


def test_the_same_seed_gives_the_same_advice(garden: Path) -> None:
    one, two = (package.recommend(garden, **SMALL).to_json() for _ in range(2))
    for found in (one, two):
        del found["seconds"]
        for row in found["expected"]:
            del row["seconds"]
        # some tell a time
        found["reasons"] = [reason for reason in found["reasons"] if "about" not in reason]
        found["plan"]["reasons"] = found["reasons"]
    assert one == two


def test_validation_images_are_not_looked_at(make_folder: Make) -> None:
    """What stands in val/ does not change what is measured."""
    counts = {"train/a": 12, "train/b": 12, "val/a": 4, "val/b": 4}
    one = package.recommend(make_folder(counts, "one"), **SMALL)
    other = make_folder(counts, "other")
    for number, file in enumerate(sorted((other / "val").rglob("*.png"))):
        image(5000 + number, tint=(200, 200, 0)).save(file)
    two = package.recommend(other, **SMALL)
    assert one.measured.evidence == two.measured.evidence
    assert one.measured.evidence is not None
    assert one.measured.evidence.images == 24


def fill(root: Path, counts: list[int], draw: Callable[[int, int], Image.Image]) -> Path:
    """A folder with so many images in each class, each drawn from its class and number."""
    for label, count in enumerate(counts):
        (root / f"c{label:03}").mkdir(parents=True)
        for number in range(count):
            draw(label, number).save(root / f"c{label:03}" / f"{number}.png")
    return root


def tinted(label: int, number: int) -> Image.Image:
    return image(1000 * label + number, tint=((90, 0, 0), (0, 90, 0), (0, 0, 90))[label % 3])


def grey(label: int, number: int) -> Image.Image:
    return image(1000 * label + number, size=(28, 28), tint=(60 * label,) * 3).convert("L")


def deep(label: int, number: int) -> Image.Image:
    pixels = np.asarray(image(1000 * label + number, tint=(60 * label,) * 3).convert("L")).astype(np.uint16)
    return Image.fromarray(pixels * 200)


@pytest.mark.parametrize(
    ("counts", "draw"),
    [
        ([3, 30], tinted),  # fewer images than folds
        ([2, 2], tinted),
        ([5, 95], tinted),
        ([10, 10], grey),  # and 28 by 28 pixels
        ([10, 10], deep),
        ([3] * 40, tinted),
    ],
    ids=["few of one class", "two of each", "one class has 95%", "grey and tiny", "16 bits", "many classes"],
)
def test_odd_data_sets_get_advice(counts: list[int], draw: Callable[[int, int], Image.Image], tmp_path: Path) -> None:
    found = package.recommend(fill(tmp_path / "images", counts, draw), **SMALL)
    assert found.plan.strategy in STRATEGIES
    data = json.loads(json.dumps(found.to_json()))
    for row in data["expected"]:
        assert row["accuracy"] is None or 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    if min(counts) == 2:  # one of each to train on: nothing can be measured, and no number is made up
        assert all(row["accuracy"] is None for row in data["expected"])
        assert data["measured"] is data["more_pictures"] is None
    else:
        low, high = (data["expected"][0][name] for name in ("low", "high"))
        assert high - low > 0.01  # so few images leave room for doubt


def test_identical_images_are_one_clear_line(tmp_path: Path) -> None:
    root = fill(tmp_path / "images", [8, 8], lambda label, number: image(1))
    with pytest.raises(TlkitError, match="copies of one another"):
        package.recommend(root, **SMALL)


def test_images_that_say_nothing_give_no_confident_number(tmp_path: Path) -> None:
    root = fill(tmp_path / "images", [12, 12], lambda label, number: image(50 * label + number))
    found = package.recommend(root, **SMALL)
    assert found.expected[0]["low"] < 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--advisor", "oracle"], "unknown --advisor"),
        (["--backbone", "vgg99"], "vgg99"),
        (["--report", "no/such/advice.html"], "no such folder"),
        (["--report", "there"], "output exists"),
        (["--plan", "there"], "output exists"),
        (["--time-budget", "soon"], "--time-budget requires a time"),
        (["--time-budget", "5"], "--time-budget requires a unit"),
        (["--val-split", "2"], "val-split"),
    ],
)
def test_mistakes_are_one_line(tlkit: Tlkit, garden: Path, tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "there").write_text("mine")
    ran = tlkit("recommend", garden, *options, cwd=tmp_path)
    assert ran.code == 2
    assert ran.out == ""
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, [], "cannot read the plan"),
        ("{", [], "it is not JSON"),
        ("[1]", [], "not a plan"),
        ('{"strategy": "freeze"}', [], "plan"),
        ("whole", ["--strategy", "freeze"], "--strategy is decided by --plan"),
        ("whole", ["--image-size", "64"], "--image-size is decided by --plan"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(
    tlkit: Tlkit,
    garden: Path,
    advised: tuple[Path, Ran],
    tmp_path: Path,
    content: str | None,
    options: list[str],
    message: str,
) -> None:
    if content == "whole":
        shutil.copy(advised[0] / "plan.json", tmp_path)
    elif content is not None:
        (tmp_path / "plan.json").write_text(content)
    ran = tlkit("train", garden, "--plan", "plan.json", *options, cwd=tmp_path)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "garden.tlkit").exists()


def test_a_boundary_is_not_for_the_advisor_to_be_told(garden: Path, tmp_path: Path) -> None:
    with pytest.raises(TlkitError, match="--boundary does not apply to --strategy auto"):
        package.train(garden, strategy="auto", boundary="stage3", output=tmp_path / "x.tlkit")
