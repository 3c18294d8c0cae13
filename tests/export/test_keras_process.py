"""The process that writes ``model.keras``, and what happens where it cannot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tlkit.backbones.catalog.table import DEFAULT
from tlkit.backbones.engines import LiteRTNetwork
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.backbones.runtime import import_keras
from tlkit.export import keras_process as module
from tlkit.export import networks as assemble
from tlkit.export.keras_process import KerasProcess, keras_process
from tlkit.export.networks import write_networks
from tlkit.linear.classifier import with_features
from tlkit.linear.head import Head

SIZE = 64
Patch = pytest.MonkeyPatch


@pytest.fixture
def extractor() -> Extractor:
    return open_extractor(DEFAULT, input_size=SIZE, engine="litert")


@pytest.fixture
def head() -> Head:
    rng = np.random.default_rng(0)
    return Head(rng.normal(0, 0.1, (1280, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32), 1.0, ())


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def process(extractor: Extractor) -> Iterator[KerasProcess]:
    made = KerasProcess(extractor)
    yield made
    made.close()


def test_it_saves_the_network_and_says_what_it_answers(
    process: KerasProcess, head: Head, pixels: np.ndarray, tmp_path: Path
) -> None:
    saved = process.save(tmp_path / "model.keras", head, pixels, named=["stage5", "top"])
    assert saved is not None
    found, layers = saved
    model = import_keras().models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(found, np.asarray(model(pixels.astype(np.float32))), atol=1e-5)
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], head.kernel)
    assert [model.get_layer(layers[tap]).output.shape[-1] for tap in ("stage5", "top")] == [112, 1280]


def test_neither_modules_in_the_users_folder_nor_what_libraries_print_do_harm(
    extractor: Extractor, head: Head, pixels: np.ndarray, tmp_path: Path, monkeypatch: Patch
) -> None:
    (tmp_path / "keras.py").write_text("raise SystemExit('the wrong keras')")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_START", "print('hello from a library', flush=True); " + module._START)
    with contextlib.closing(KerasProcess(extractor)) as process:
        assert process.save(tmp_path / "model.keras", head, pixels) is not None


@pytest.mark.parametrize(("when", "by"), [("at once", "Keras"), ("later", "hand")])
def test_where_it_dies_the_network_is_written_here(
    extractor: Extractor, head: Head, tmp_path: Path, monkeypatch: Patch, when: str, by: str
) -> None:
    if by == "Keras":
        monkeypatch.setattr(assemble, "is_written_here", lambda extractor: False)
    if when == "at once":
        monkeypatch.setattr(module, "_START", "raise SystemExit(3)")
    with contextlib.closing(KerasProcess(extractor)) as process:
        if when == "later":
            process._process.kill()
        keras_file, lite_file = tmp_path / "model.keras", tmp_path / "model.tflite"
        written = write_networks(keras_file, lite_file, extractor, head, [], process=process)
    assert not written.problem
    model = import_keras().models.load_model(keras_file, compile=False)
    grey = np.full((1, SIZE, SIZE, 3), 127, dtype=np.uint8)
    wide = with_features(model, written.layers.values())  # probabilities, then features
    theirs = np.asarray(wide(grey.astype(np.float32)))
    np.testing.assert_allclose(LiteRTNetwork(lite_file)(grey), theirs, atol=1e-4 * np.abs(theirs).max())


def test_it_is_gone_after_the_block(extractor: Extractor) -> None:
    other = replace(extractor, weights="none")
    with keras_process(other) as process:
        assert process is not None
        assert process._process.poll() is None
    assert process._process.poll() is not None


def test_the_packaged_weights_need_none(extractor: Extractor) -> None:
    with keras_process(extractor) as process:
        assert process is None


def test_there_is_none_where_keras_is_at_work_anyway(extractor: Extractor) -> None:
    assert extractor.network.backbone.name == DEFAULT  # builds it
    with keras_process(extractor) as process:
        assert process is None
