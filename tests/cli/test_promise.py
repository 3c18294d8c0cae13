"""``predict --precision`` and ``evaluate --precision`` as a user runs them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Make, Ran, Trained

import tlkit as api
from tlkit.bundle.manifest import HELD_OUT
from tlkit.bundle.save import manifest_digest
from tlkit.evaluation.promise import HeldOut, promise
from tlkit.files import file_hash

Tlkit = Callable[..., Ran]
IMAGES = 1000


def with_held_out(bundle: Path, target: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A copy of a bundle with other held-out predictions."""
    shutil.copytree(bundle, target)
    np.savez(target / HELD_OUT, **arrays)  # type: ignore[arg-type]
    manifest = json.loads((target / "tlkit.json").read_text())
    manifest["files"][HELD_OUT] = file_hash(target / HELD_OUT)
    manifest["digest"] = manifest_digest({key: value for key, value in manifest.items() if key != "digest"})
    (target / "tlkit.json").write_text(json.dumps(manifest))
    return target


def predictions() -> HeldOut:
    """Those with a doubt below 0.4 are right, three quarters of the others are; birds are predicted most."""
    doubts = np.linspace(1e-6, 0.7, IMAGES).astype(np.float32)
    right = (doubts < 0.4) | (np.arange(IMAGES) % 4 > 0)
    answers = np.where(np.arange(IMAGES) % 8 < 7, 0, 1).astype(np.int32)
    return HeldOut(doubts, answers, right)


@pytest.fixture(scope="session")
def promising(trained: Trained, make_once: Callable[[str, Make], Path]) -> Path:
    def make(place: Path) -> None:
        with_held_out(trained.bundle, place / "promising.tlkit", predictions().arrays())

    return make_once("promising", make) / "promising.tlkit"


def test_what_is_not_sure_enough_is_for_review(tlkit: Tlkit, promising: Path, photos: Path, tmp_path: Path) -> None:
    found = promise(predictions(), 0.99)
    assert found is not None
    common = ("predict", photos, "--model", promising, "--precision", 0.99, "--unknown-rate", 0)
    ran = tlkit(*common, "--json")
    assert ran.code == 0, ran.err
    rows = [row for row in ran.lines if row["error"] is None]
    assert [row["review"] for row in rows] == [1 - row["probability"] >= found.limit for row in rows]
    count = sum(row["review"] for row in rows)
    assert 0 < count < len(rows)
    assert f"{len(rows) - count} labelled, {count} to review, 1 unreadable" in ran.err
    assert [each.review for each in api.load(promising).predict(sorted(photos.glob("*.png")), precision=0.99)] == [
        row["review"] for row in rows
    ]
    place = tmp_path / "sorted"
    assert tlkit(*common, "--sort-into", place).code == 0
    assert len(list((place / "review").iterdir())) == count
    assert tlkit(*common, "--output", tmp_path / "rows.csv").code == 0
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert [row["review"] for row in csv.DictReader(file)].count("true") == count


def test_each_class_by_itself(tlkit: Tlkit, promising: Path, photos: Path) -> None:
    ran = tlkit("predict", photos, "--model", promising, "--precision", 0.99, "--each-class", "--json")
    assert ran.code == 0, ran.err
    assert "no promise for flowers, fruit, vegetables: all of these are left to review" in ran.err
    rows = [row for row in ran.lines if row["error"] is None]
    assert all(row["review"] for row in rows if row["label"] != "birds")
    assert not all(row["review"] for row in rows)


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        (["--threshold", 0.5, "--precision", 0.9], "--threshold and --precision contradict each other", "one of them"),
        (["--precision", 0.9, "--tta"], "--precision does not apply to --tta", "omit --tta"),
        (["--each-class"], "--each-class requires --precision", "--precision 0.99"),
        (["--precision", 95], "--precision must be above 0 and below 1, not 95", "write 0.95"),
        (["--precision", 1], "--precision must be above 0 and below 1, not 1", "0.99"),
        (["--precision", "nan"], "--precision must be above 0 and below 1", "0.99"),
        (["--precision", 0.999], "takes at least 2,995 images that training did not use", "--precision 0.99 can be"),
    ],
)
def test_what_cannot_be_promised_is_one_line(
    tlkit: Tlkit, promising: Path, photos: Path, options: list[object], error: str, hint: str
) -> None:
    for more in ([], ["--json"]):
        ran = tlkit("predict", photos, "--model", promising, *options, *more)
        assert ran.code == 2
        assert ran.out == ""
        said = [line for line in ran.err.splitlines() if line.startswith(("error: ", "hint: "))]
        assert error in said[0]
        assert hint in said[1]
        assert len(said) == 2


def test_a_bundle_that_knows_nothing_says_what_to_do(
    tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(trained.bundle, tmp_path / "old.tlkit")
    manifest = json.loads((old / "tlkit.json").read_text())
    del manifest["files"][HELD_OUT], manifest["held_out"], manifest["digest"]
    (old / HELD_OUT).unlink()
    (old / "tlkit.json").write_text(json.dumps({**manifest, "digest": manifest_digest(manifest)}))
    ran = tlkit("predict", photos, "--model", old, "--precision", 0.9)
    assert ran.code == 2
    assert "keeps no held-out predictions, so it can promise no precision" in ran.err
    assert "tlkit evaluate IMAGES" in ran.err
    assert tlkit("predict", photos, "--model", old, "--json").code == 0


def test_held_out_predictions_of_a_stranger(tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path) -> None:
    arrays = predictions().arrays()
    wrong = {**arrays, "answers": arrays["answers"] + np.int32(4)}
    bundle = with_held_out(trained.bundle, tmp_path / "wrong.tlkit", wrong)
    ran = tlkit("predict", photos, "--model", bundle, "--precision", 0.9)
    assert ran.code == 2
    assert "answers must be class indices below 4" in ran.err


def test_training_says_what_is_promised(trained: Trained) -> None:
    """The sample has 16 held-out images: too few for anything."""
    line = "no promise of precision: 90% takes at least 29 images that training did not use, all of them right, and "
    assert trained.result["promise"]["line"] == f"{line}there are 16"
    assert trained.result["promise"]["not_promised"] == [0.99, 0.95, 0.9]
    assert "no promise of precision: 90%" in (trained.bundle / "report.html").read_text().lower()


def test_evaluation_finds_the_threshold(tlkit: Tlkit, promising: Path, fresh: Path, tmp_path: Path) -> None:
    ran = tlkit("evaluate", fresh, "--model", promising, "--precision", 0.6, "--report", tmp_path / "page.html")
    assert ran.code == 0, ran.err
    assert "answers 100% by itself at 60% precision or better (95% confidence); 0 of 8 to look at" in ran.out
    assert f"to use it: tlkit predict IMAGES --model {promising}" in ran.out
    assert "the bundle's own promise of 60%: answers 8 of 8, 100.0% of them right" in ran.out
    assert "How much can be left to it?" in (tmp_path / "page.html").read_text()
    found = tlkit("evaluate", fresh, "--model", promising, "--precision", 0.6, "--json").json
    assert found["promise"]["precisions"][0]["coverage"] == 1
    assert found["own_promise"]["answered"] == 8
    plain = tlkit("evaluate", fresh, "--model", promising)
    assert "no promise of precision: 90% takes at least 29 images" in plain.out
    assert tlkit("evaluate", fresh, "--model", promising, "--precision", 2).code == 2


def test_images_of_training_promise_nothing(tlkit: Tlkit, trained: Trained, garden: Path) -> None:
    found = tlkit("evaluate", garden, "--model", trained.bundle, "--split", "all", "--json").json
    assert found["promise"]["images"] == 16
    assert found["promise"]["precisions"] == []
