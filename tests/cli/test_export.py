"""``tlkit export`` as a user runs it, and its files in Keras and TensorFlow."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Make, Ran
from digits import write_folder

import tlkit as package
from tlkit.backbones.own.keras_file import file_backbone
from tlkit.backbones.runtime import import_keras, import_tensorflow
from tlkit.bundle.manifest import LITE
from tlkit.bundle.save import MANIFEST, manifest_digest
from tlkit.images.read import read_image

Tlkit = Callable[..., Ran]
CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def tuned(tlkit: Tlkit, small: Path, make_once: Callable[[str, Make], Path]) -> Path:
    """A tuned network of 16 x 16 pixels, beside a folder of its images."""

    def make(place: Path) -> None:
        write_folder(place / "digits")
        options = ["--strategy", "fine-tune", "--epochs", "1", "--learning-rate", "1e-3", "--no-report"]
        ran = tlkit("train", "digits", "--backbone", small, *options, cwd=place)
        assert ran.code == 0, ran.err

    return make_once("tuned-digits", make) / "digits.tlkit"


def test_keras_tensorflow_and_litert_open_what_is_written(tlkit: Tlkit, tuned: Path, tmp_path: Path) -> None:
    ran = tlkit("export", "--model", tuned, "-f", "keras,saved_model", "-f", "tflite", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    folder = tmp_path / "digits-export"
    assert {path.name for path in folder.iterdir()} == {"export.json", "model.keras", "model.tflite", "saved_model"}
    assert [each["format"] for each in ran.json["exports"]] == ["keras", "saved-model", "litert"]
    assert ran.json["checked_on"].startswith(("28 images held out from training", "140 images that training used too"))
    for each in ran.json["exports"]:
        its = each["agreement"]
        assert its["max_difference"] <= 1e-4
        assert its["same_label"] == 1.0
        assert its["accuracy"]["images"] == its["images"]
        assert its["accuracy"]["change_ci95"][0] < 0 < its["accuracy"]["change_ci95"][1]
        assert its["milliseconds"] > 0
    files = sorted((tuned.parent / "digits").glob("*/*.png"))[::20]
    pixels = np.stack([read_image(file, (16, 16)) for file in files]).astype(np.float32)
    expected = package.load(tuned).predict_proba(files)
    network = import_keras().models.load_model(folder / "model.keras")
    np.testing.assert_allclose(np.asarray(network(pixels)), expected, atol=1e-4)
    tf = import_tensorflow()
    served = tf.saved_model.load(str(folder / "saved_model"))
    found = served.signatures["serving_default"](image=tf.constant(pixels))
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-4)
    with zipfile.ZipFile(folder / "model.keras") as archive:
        cards = [archive.read("tlkit.json"), (folder / "saved_model" / "assets.extra" / "tlkit.json").read_bytes()]
        labels = archive.read("labels.txt")
    assert [json.loads(card) for card in cards] == [ran.json["card"]] * 2
    assert labels.decode().splitlines() == CLASSES
    assert file_backbone(folder / "model.keras").name, "tlkit refuses its own export"


def test_a_person_reads_a_table(tlkit: Tlkit, tuned: Path, tmp_path: Path) -> None:
    ran = tlkit("export", "--model", tuned, "--format", "litert", "-o", "out", cwd=tmp_path)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "saved out"
    assert lines[1].startswith("checked on ")
    names = [line.split("  ")[0] for line in lines[2:]]
    assert names == ["file", "predict", "model.tflite"]
    assert lines[4].count("100.0%") >= 1
    assert "Checking litert against predict" in ran.err


def test_a_bundle_without_a_network_for_litert_is_converted(tlkit: Tlkit, tuned: Path, tmp_path: Path) -> None:
    place = shutil.copytree(tuned, tmp_path / "plain.tlkit")
    (place / LITE).unlink()
    manifest = json.loads((place / MANIFEST).read_text())
    del manifest["files"][LITE]
    del manifest["digest"]
    manifest["digest"] = manifest_digest(manifest)
    (place / MANIFEST).write_text(json.dumps(manifest))
    ran = tlkit("export", "--model", place, "-f", "litert", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["exports"][0]["agreement"]["max_difference"] <= 1e-4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-f", "kreas"], "error: unknown format 'kreas'\nhint: did you mean keras?"),
        (["-f", "keras", "--precision", "fp61"], "error: unknown precision 'fp61'\nhint: did you mean fp16?"),
        (["-f", "keras", "--precision", "int8"], "error: keras cannot be exported as int8\nhint: keras can be fp32"),
        (
            ["-f", "keras", "--images", "gone"],
            "error: no image to check the export on can be read\nhint: gone: no such",
        ),
        (["-f", "keras", "-o", "digits"], "error: output exists"),
        ([], "error: Missing option '--format'"),
    ],
)
def test_mistakes_take_two_lines_and_leave_nothing(
    tlkit: Tlkit, tuned: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "digits").mkdir()
    ran = tlkit("export", "--model", tuned, *words, cwd=tmp_path)
    assert ran.code == 2
    assert ran.out == ""
    errors = [line for line in ran.err.splitlines() if line.startswith(("error", "hint"))]
    assert "\n".join(errors).startswith(said)
    assert len(errors) <= 2
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_the_newest_bundle_is_taken_and_named(tlkit: Tlkit, tuned: Path, tmp_path: Path) -> None:
    shutil.copytree(tuned, tmp_path / "mine.tlkit")
    ran = tlkit("export", "-f", "litert", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert f"note: model: {tmp_path / 'mine.tlkit'}" in ran.err
    assert (tmp_path / "mine-litert" / "model.tflite").exists()
    assert tlkit("export", "-f", "litert", cwd=tmp_path).code == 2, "the same output once more"
