"""The packaged network as a .keras file written without Keras, against the one that Keras writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlkit.backbones.build import build_backbone
from tlkit.backbones.engines import LiteRTNetwork
from tlkit.backbones.extractor import open_extractor
from tlkit.backbones.runtime import import_keras
from tlkit.formats.keras_archive import write_packaged
from tlkit.formats.networks import write_networks
from tlkit.linear.classifier import attach_head, layers_of, with_features
from tlkit.linear.head import Head

SIZE = 64


def plain(config: Any) -> Any:
    """A configuration without numbers that differ from run to run."""
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items() if key != "shared_object_id"}
    return [plain(value) for value in config] if isinstance(config, (list, tuple)) else config


def random_head(width: int) -> Head:
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.1, (width, 3)).astype(np.float32)
    return Head(kernel, rng.normal(size=3).astype(np.float32), 1.0, ())


@pytest.mark.parametrize(
    ("variant", "taps", "width"),
    [
        ("lite0", ["top"], 1280),
        ("lite0", ["stage3", "stage5"], 40 + 112),
        pytest.param("lite1", ["stage6", "top"], 192 + 1280, marks=pytest.mark.thorough),
    ],
)
def test_keras_opens_the_network_that_it_would_have_written(
    variant: str, taps: list[str], width: int, tmp_path: Path
) -> None:
    keras, head = import_keras(), random_head(width)
    layers = write_packaged(tmp_path / "m.keras", variant, SIZE, head.kernel, head.bias, taps)
    network = build_backbone(f"efficientnet-{variant}", input_size=SIZE)
    theirs = attach_head(network, head, taps)
    ours = keras.models.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    assert plain(ours.get_config()) == plain(theirs.get_config())
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    pixels = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_array_equal(ours(pixels, training=False), theirs(pixels, training=False))
    assert layers == layers_of(network, list(layers))
    assert list(layers)[-1] == taps[-1]
    ours.save(tmp_path / "again.keras")  # nothing in it keeps Keras from going on with it
    again = keras.models.load_model(tmp_path / "again.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(again(pixels, training=False), theirs(pixels, training=False))


@pytest.mark.parametrize("by", ["hand", "Keras"])
def test_the_files_for_keras_and_litert_agree(by: str, tmp_path: Path) -> None:
    extractor = open_extractor("efficientnet-lite0", input_size=SIZE, engine="litert")
    if by == "Keras":
        assert extractor.network.model  # builds it: then Keras writes the file
    keras_file, lite_file = tmp_path / "model.keras", tmp_path / "model.tflite"
    written = write_networks(keras_file, lite_file, extractor, random_head(1280), [])
    assert not written.problem
    model = import_keras().models.load_model(keras_file, compile=False)
    grey = np.full((1, SIZE, SIZE, 3), 127, dtype=np.uint8)
    theirs = np.asarray(with_features(model, written.layers.values())(grey.astype(np.float32)))
    np.testing.assert_allclose(LiteRTNetwork(lite_file)(grey), theirs, atol=1e-4 * np.abs(theirs).max())


def test_it_needs_no_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path; from tlkit.formats.keras_archive import write_packaged\n"
        f"write_packaged(Path({str(tmp_path / 'm.keras')!r}), 'lite0', 64, np.zeros((1280, 2)), np.zeros(2))\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
