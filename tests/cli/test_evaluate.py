"""``tlkit evaluate`` as a user runs it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from conftest import Ran, Trained
from sklearn import metrics as reference

Tlkit = Callable[..., Ran]


def test_figures_on_fresh_images(tlkit: Tlkit, trained: Trained, fresh: Path, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    ran = tlkit("evaluate", fresh, "--model", trained.bundle, "--json", "--csv", table)
    assert ran.code == 0, ran.err
    found = ran.json
    assert set(found) >= {
        "images",
        "accuracy",
        "accuracy_ci95",
        "top5_accuracy",
        "balanced_accuracy",
        "macro_f1",
        "log_loss",
        "ece",
        "per_class",
        "confusion_matrix",
    }
    assert found["images"] == 8
    assert found["accuracy"] >= 0.8
    assert found["used_in_training"] == {"train": 0, "val": 0, "test": 0}
    assert [set(each) for each in found["per_class"]] == [
        {"class", "precision", "recall", "recall_ci95", "f1", "support"}
    ] * 4
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    truth, answers = [row["label"] for row in rows], [row["answer"] for row in rows]
    names = found["classes"]
    values = np.array([[float(row[f"p:{name}"]) for name in names] for row in rows])
    assert found["accuracy"] == reference.accuracy_score(truth, answers)
    assert found["balanced_accuracy"] == reference.balanced_accuracy_score(truth, answers)
    assert found["macro_f1"] == reference.f1_score(truth, answers, average="macro", zero_division=0)
    assert found["log_loss"] == reference.log_loss(
        [names.index(each) for each in truth], values, labels=range(len(names))
    )
    assert found["confusion_matrix"] == reference.confusion_matrix(truth, answers, labels=names).tolist()


def test_images_that_were_trained_on_are_told(tlkit: Tlkit, trained: Trained, garden: Path, tmp_path: Path) -> None:
    ran = tlkit("evaluate", garden, "--model", trained.bundle, "--json")
    images = trained.result["images"]
    assert ran.json["used_in_training"] == {"train": images["train"], "val": images["val"], "test": 0}
    assert any(f"{images['train']} of 79 images used in training" in line for line in ran.json["warnings"])
    page = tmp_path / "page.html"
    said = tlkit("evaluate", garden, "--model", trained.bundle, "--report", page)
    text = page.read_text()
    assert text.count("<svg") == 3
    assert "data:image/jpeg;base64," in text
    assert f"tlkit evaluate {garden}" in text
    assert "%), 79 images" in said.out
    assert "warning: " in said.out
    assert "used in training" in said.out


def test_classes_are_matched_by_name(tlkit: Tlkit, trained: Trained, fresh: Path, tmp_path: Path) -> None:
    """Fewer classes, in another order, and one that the bundle lacks."""
    root = tmp_path / "some"
    shutil.copytree(fresh / "vegetables", root / "vegetables")
    shutil.copytree(fresh / "birds", root / "birds")
    shutil.copytree(fresh / "fruit", root / "Aardvarks")
    found = tlkit("evaluate", root, "--model", trained.bundle, "--json").json
    whole = tlkit("evaluate", fresh, "--model", trained.bundle, "--json").json
    support = {each["class"]: each["support"] for each in found["per_class"]}
    assert support == {"birds": 2, "flowers": 0, "fruit": 0, "vegetables": 2}
    recalls = {each["class"]: each["recall"] for each in whole["per_class"]}
    assert {each["class"]: each["recall"] for each in found["per_class"] if each["support"]} == {
        name: recalls[name] for name in ("birds", "vegetables")
    }
    assert found["unknown_classes"] == {"Aardvarks": 2}
    assert any("Aardvarks" in line for line in found["warnings"])
    assert any("flowers, fruit" in line for line in found["warnings"])


def test_one_class_alone(tlkit: Tlkit, trained: Trained, fresh: Path, tmp_path: Path) -> None:
    shutil.copytree(fresh / "birds", tmp_path / "one" / "birds")
    ran = tlkit("evaluate", tmp_path / "one", "--model", trained.bundle)
    assert ran.code == 0, ran.err
    assert "%), 2 images" in ran.out


def test_parts_of_a_folder(tlkit: Tlkit, trained: Trained, fresh: Path, tmp_path: Path) -> None:
    root = tmp_path / "parts"
    shutil.copytree(fresh, root / "train")
    shutil.copytree(fresh / "birds", root / "val" / "birds")
    command = ("evaluate", root, "--model", trained.bundle)
    auto = tlkit(*command, "--json").json
    assert (auto["split"], auto["images"]) == ("val", 2)
    assert tlkit(*command, "--split", "all", "--json").json["images"] == 10
    for split, hint in (("test", "there are train, val"), ("half", "one of auto, train, val, test, all")):
        ran = tlkit(*command, "--split", split)
        assert (ran.code, ran.out) == (2, "")
        assert hint in ran.err
    ran = tlkit("evaluate", fresh, "--model", trained.bundle, "--split", "test")
    assert ran.code == 2
    assert "no test/" in ran.err


def test_images_that_cannot_be_read_are_told(tlkit: Tlkit, trained: Trained, fresh: Path, tmp_path: Path) -> None:
    root = tmp_path / "broken"
    shutil.copytree(fresh, root)
    (root / "birds" / "no.jpg").write_text("no image")
    ran = tlkit("evaluate", root, "--model", trained.bundle, "--json")
    assert ran.code == 0
    assert ran.json["images"] == 8
    assert [each["file"] for each in ran.json["skipped"]] == ["birds/no.jpg"]
    assert "skipped birds/no.jpg" in tlkit("evaluate", root, "--model", trained.bundle).out


def test_what_cannot_be_evaluated(tlkit: Tlkit, trained: Trained, fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad" / "birds").mkdir(parents=True)
    (tmp_path / "bad" / "birds" / "no.jpg").write_text("no image")
    shutil.copytree(fresh / "birds", tmp_path / "other" / "Fish")
    (tmp_path / "there.csv").write_text("mine")
    cases = {
        (tmp_path / "gone",): "no such folder",
        (tmp_path / "empty",): "no images in",
        (tmp_path / "bad",): "no readable image",
        (tmp_path / "other",): "is named like a class of the bundle",
        (fresh, "--csv", tmp_path / "there.csv"): "output exists",
        (fresh, "--csv", fresh / "rows.csv"): "inside the image folder",
        (fresh, "--csv", tmp_path / "gone" / "rows.csv"): "no such folder",
        (fresh, "--report", tmp_path / "there.csv"): "output exists",
    }
    for arguments, reason in cases.items():
        ran = tlkit("evaluate", *arguments, "--model", trained.bundle)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert reason in ran.err
        assert "Traceback" not in ran.err
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert tlkit("evaluate", fresh, "--model", tmp_path / "none.tlkit").code == 2
