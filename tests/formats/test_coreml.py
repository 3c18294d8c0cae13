"""Core ML: what is written has the right inputs, labels and metadata. Only Apple's systems can run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlkit.backbones.runtime import import_keras
from tlkit.errors import TlkitError
from tlkit.formats.coreml import write_coreml
from tlkit.formats.source import Source

coremltools = pytest.importorskip("coremltools", reason="coremltools is not installed: pip install 'tlkit[coreml]'")

NAMES = ("one", "two words", "w\u00f6rter")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A network of one convolution."""
    layers, file = import_keras().layers, tmp_path_factory.mktemp("coreml") / "model.keras"
    steps = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, activation="relu6"), layers.GlobalAveragePooling2D()]
    network = [layers.Input((16, 12, 3)), *steps, layers.Dense(len(NAMES), activation="softmax")]
    import_keras().Sequential(network).save(file)
    card = {"tlkit": "1.2.3", "classes": list(NAMES), "input": {"size": [16, 12]}}
    return Source(file, None, card, "fp16", np.zeros((0, 16, 12, 3), np.uint8))


def test_the_package_takes_an_image_and_gives_labels(source: Source, tmp_path: Path) -> None:
    write_coreml(tmp_path / "model.mlpackage", source)
    spec = coremltools.models.MLModel(str(tmp_path / "model.mlpackage"), skip_model_load=True).get_spec()
    (image,) = spec.description.input
    assert (image.name, image.type.imageType.width, image.type.imageType.height) == ("image", 12, 16)
    assert spec.description.predictedFeatureName == "classLabel"
    assert json.loads(spec.description.metadata.userDefined["tlkit"]) == source.card
    text = str(spec)
    assert "two words" in text


def test_a_network_that_cannot_be_converted_is_one_line(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no\nsuch operation")

    monkeypatch.setattr(coremltools, "convert", convert)
    with pytest.raises(TlkitError, match="coremltools cannot convert this network: no such operation"):
        write_coreml(tmp_path / "model.mlpackage", source)
    assert list(tmp_path.iterdir()) == []
