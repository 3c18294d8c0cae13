"""OpenVINO: what is written answers like ``predict``, and says what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran, Trained

import tlkit as package
from tlkit.formats.card import make_card
from tlkit.formats.openvino import openvino_forward, write_openvino
from tlkit.formats.source import Source
from tlkit.images.read import read_image

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'tlkit[openvino]'")

NAMES = ("plain", "two words", "<&\"'>\u0001", "w\u00f6rter \udcff")


def source_of(bundle: Path) -> Source:
    loaded = package.load(bundle)
    return Source(
        keras_file=bundle / "model.keras",
        lite=(bundle / "model.tflite").read_bytes(),
        card=make_card(loaded.metadata | {"digest": "0"}, bundle.name, "fp32", loaded.ood),
        precision="fp32",
        calibration=np.zeros((0, *loaded.input_size, 3), np.uint8),
    )


def test_openvino_answers_like_predict(
    tlkit: Callable[..., Ran], trained: Trained, garden: Path, unseen: Path, tmp_path: Path
) -> None:
    options = ("--format", "openvino", "--images", garden, "--json")
    ran = tlkit("export", "--model", trained.bundle, *options, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["exports"][0]["agreement"]["max_difference"] <= 1e-4
    folder = tmp_path / "garden-openvino" / "openvino"
    assert {each.name for each in folder.iterdir()} == {"model.xml", "model.bin"}
    bundle, files = package.load(trained.bundle), sorted(unseen.glob("*.png"))
    # a processor with bfloat16 uses it unasked, which moves probabilities by 0.01
    network = openvino.Core().compile_model(folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    pixels = np.stack([read_image(file, bundle.input_size) for file in files]).astype(np.float32)
    found = network({"image": pixels})["probabilities"]
    np.testing.assert_allclose(found, bundle.predict_proba(files), atol=1e-4)


def test_labels_and_card_travel_along(trained: Trained, tmp_path: Path) -> None:
    source = source_of(trained.bundle)
    source = replace(source, card={**source.card, "classes": list(NAMES)})
    write_openvino(tmp_path / "full", source)
    model = openvino.Core().read_model(tmp_path / "full" / "model.xml")
    card = json.loads(model.get_rt_info(["model_info", "tlkit"]).value)
    assert tuple(card["classes"]) == NAMES
    labels = model.get_rt_info(["model_info", "labels"]).value.split()
    assert labels == ["plain", "two_words", "<&\"'>_", "w\u00f6rter_\\udcff"]


def test_half_precision_halves_the_file(trained: Trained, tmp_path: Path) -> None:
    source = source_of(trained.bundle)
    write_openvino(tmp_path / "full", source)
    write_openvino(tmp_path / "half", replace(source, precision="fp16"))
    sizes = [(tmp_path / name / "model.bin").stat().st_size for name in ("full", "half")]
    assert 0.49 < sizes[1] / sizes[0] < 0.51
    pixels = np.random.default_rng(0).integers(0, 256, (2, *source.input_size, 3), dtype=np.uint8)
    found = [openvino_forward(tmp_path / name)(pixels) for name in ("full", "half")]
    np.testing.assert_allclose(found[1], found[0], atol=0.02)
    assert (found[0] != found[1]).any()
