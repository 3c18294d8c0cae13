"""``tlkit compare`` as a user runs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran, Trained, changed
from PIL import Image

import tlkit as package
from tlkit.bundle.manifest import LITE
from tlkit.images.folder import scan

Tlkit = Callable[..., Ran]


def test_the_better_one_is_named(tlkit: Tlkit, trained: Trained, other: Path, fresh: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    ran = tlkit("compare", other, trained.bundle, fresh, "--json", "--sheet", sheet)
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["images"] == 8
    assert found["better"] == "b"
    assert found["verdict"].startswith("B is better by ")
    assert found["difference"] == found["b"]["accuracy"] - found["a"]["accuracy"] > 0
    right = found["both_right"] + found["only_a_right"] + found["only_b_right"] + found["both_wrong"]
    assert right == found["images"] == sum(each["images"] for each in found["per_class"])
    single = tlkit("evaluate", fresh, "--model", trained.bundle, "--json").json
    assert [found["b"][name] for name in ("accuracy", "log_loss", "macro_f1", "ece")] == pytest.approx(
        [single[name] for name in ("accuracy", "log_loss", "macro_f1", "ece")]
    )
    assert found["log_loss_difference"] == pytest.approx(found["b"]["log_loss"] - found["a"]["log_loss"], abs=1e-6)
    assert found["b"]["size_bytes"] == (trained.bundle / LITE).stat().st_size
    assert found["a"]["milliseconds"] > 0
    wrong = [each for each in found["disagreements"] if each["right"] == "b"]
    assert len(wrong) == found["only_b_right"]
    assert {each["file"] for each in found["disagreements"]} <= set(scan(fresh).files)
    with Image.open(sheet) as drawn:
        assert np.asarray(drawn).std() > 10

    shown = tlkit("compare", trained.bundle, other, fresh)
    assert shown.out.startswith("A is better by "), shown.out
    assert "McNemar's exact test" in shown.out


def test_too_few_images_say_how_many_would_do(tlkit: Tlkit, trained: Trained, fresh: Path, tmp_path: Path) -> None:
    names = trained.result["classes"]
    twin = changed(trained.bundle, tmp_path / "twin.tlkit", classes=[names[1], names[0], *names[2:]])
    few = tmp_path / "few"
    for name in names:
        (few / name).mkdir(parents=True)
        for file in sorted((fresh / name).iterdir())[:1]:
            shutil.copy(file, few / name)
    ran = tlkit("compare", trained.bundle, twin, few)
    assert ran.code == 0, ran.err
    first = ran.out.splitlines()[0]
    assert first.startswith("no difference can be seen with 4 images; about ")
    assert "would be needed (B minus A: " in first


def test_images_that_one_was_trained_on_are_left_out(
    tlkit: Tlkit, trained: Trained, other: Path, garden: Path, tmp_path: Path
) -> None:
    held_out = trained.result["images"]["val"]
    ran = tlkit("compare", trained.bundle, other, garden, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["images"] == held_out
    assert f"{trained.result['images']['train']} images left out that A or B was trained on" in ran.json["warnings"]
    assert any(line.startswith("used to select the model: ") for line in ran.json["warnings"])
    refitted = changed(other, tmp_path / "refit.tlkit", refit=["train", "val"])
    ran = tlkit("compare", trained.bundle, refitted, garden)
    assert ran.code == 2
    assert "was trained on all" in ran.err
    assert "--no-refit" in ran.err


def test_classes_that_only_one_has(tlkit: Tlkit, trained: Trained, fresh: Path, tmp_path: Path) -> None:
    names = trained.result["classes"]
    renamed = changed(trained.bundle, tmp_path / "renamed.tlkit", classes=[*names[:-1], "weeds"])
    ran = tlkit("compare", trained.bundle, renamed, fresh, "--json")
    assert ran.code == 0, ran.err
    gone = len(list((fresh / names[-1]).iterdir()))
    assert ran.json["images"] == 8 - gone
    assert f"{gone} images of '{names[-1]}' left out: not a class of B" in ran.json["warnings"]
    assert [each["class"] for each in ran.json["per_class"]] == names[:-1]
    strange = changed(trained.bundle, tmp_path / "strange.tlkit", classes=["w", "x", "y", "z"])
    ran = tlkit("compare", trained.bundle, strange, fresh)
    assert ran.code == 2
    assert "has a class that both bundles have" in ran.err
    assert "B has w, x, y, z" in ran.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "images are needed whose classes are known"),
        (["none"], "no such folder: none"),
        (["{fresh}", "--split", "val"], "has no val/"),
        (["{fresh}", "--split", "half"], "unknown --split 'half'"),
        (["{fresh}", "--sheet", "sheet.txt"], "--sheet must end in .png"),
        (["{fresh}", "--sheet", "none/sheet.png"], "no such folder: none"),
        (["{fresh}", "--label-column", "x"], "--label-column requires a table"),
    ],
)
def test_bad_input_is_one_line(
    tlkit: Tlkit, trained: Trained, other: Path, fresh: Path, tmp_path: Path, more: list[str], said: str
) -> None:
    ran = tlkit("compare", trained.bundle, other, *(each.format(fresh=fresh) for each in more), cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    (line,) = [each for each in ran.err.splitlines() if each.startswith("error: ")]
    assert said in line


def test_bundles_that_cannot_be_compared(tlkit: Tlkit, trained: Trained, fresh: Path, tmp_path: Path) -> None:
    assert "are the same bundle" in tlkit("compare", trained.bundle, trained.bundle, fresh).err
    assert "no such bundle" in tlkit("compare", trained.bundle, tmp_path / "none", fresh).err
    damaged = shutil.copytree(trained.bundle, tmp_path / "damaged.tlkit")
    (damaged / "labels.txt").write_text("x")
    ran = tlkit("compare", damaged, trained.bundle, fresh)
    assert (ran.code, "labels.txt was changed" in ran.err) == (2, True)


def test_the_function_takes_a_table_and_an_opened_bundle(trained: Trained, other: Path, fresh: Path) -> None:
    table = other.parent / "fresh.csv"
    folder = scan(fresh)
    rows = [f"{file},{folder.classes[label]}\n" for file, label in zip(folder.files, folder.labels, strict=True)]
    table.write_text("file,kind,note\n" + "".join(f"{row.strip()},x\n" for row in [*rows, "lost.jpg,birds\n"]))
    one, two = package.load(trained.bundle), package.load(other)
    result = package.compare(one, two, table, label_column="kind", root=fresh)
    assert result.paired.images == 8
    assert result.skipped == (("lost.jpg", "no such file"),)
    assert result.verdict.startswith("A is better by")
