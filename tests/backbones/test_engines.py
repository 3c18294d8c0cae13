"""What runs a network: which engine is chosen, and that both give the same.

That they agree on every family of networks is tested in test_build.py, where one of each is built and filled.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlkit.backbones import catalog, engines, extractor
from tlkit.backbones.engines import LiteRTNetwork, choose_engine
from tlkit.backbones.extractor import open_extractor
from tlkit.backbones.litert import conversions
from tlkit.errors import TlkitError
from tlkit.progress import SilentProgress
from tlkit.store.marker import MARKER, make_entry

Patch = pytest.MonkeyPatch


def images(count: int, size: int) -> np.ndarray:
    """Large shapes, so that deep features differ, under noise, so that no channel is constant."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 128, (count, 4, 4, 3), dtype=np.uint8)
    shapes = coarse.repeat(-(-size // 4), axis=1).repeat(-(-size // 4), axis=2)[:, :size, :size]
    return shapes + rng.integers(0, 128, shapes.shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [64, 97, 224])
def test_the_packaged_network_agrees_with_keras_on_every_tap(size: int) -> None:
    lite = open_extractor(catalog.DEFAULT, input_size=size, engine="litert")
    keras = open_extractor(catalog.DEFAULT, input_size=size, engine="keras")
    assert (lite.engine, keras.engine) == ("litert", "keras")
    assert lite.taps == keras.taps == extractor.tap_widths(keras.network)
    assert lite.weights_hash == keras.weights_hash == keras.network.weights_hash
    pixels = images(3, size)
    theirs = keras.forward()(pixels)
    np.testing.assert_allclose(lite.forward()(pixels), theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("workers", [1, None])
def test_images_are_independent_of_how_they_are_divided(count: int, workers: int | None) -> None:
    graph = open_extractor(catalog.DEFAULT, input_size=64, engine="litert").graph
    assert graph is not None
    pixels = images(count, 64)
    found = LiteRTNetwork(graph, workers)(pixels)
    alone = np.concatenate([LiteRTNetwork(graph, images=1)(each[None]) for each in pixels])
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_a_file_is_as_good_as_its_bytes(tmp_path: Path) -> None:
    graph = open_extractor(catalog.DEFAULT, input_size=64, engine="litert").graph
    assert graph is not None
    (tmp_path / "n.tflite").write_bytes(graph)
    pixels = images(2, 64)
    assert (LiteRTNetwork(tmp_path / "n.tflite")(pixels) == LiteRTNetwork(graph)(pixels)).all()


def test_large_networks_are_not_held_many_times(monkeypatch: Patch) -> None:
    made: list[int] = []

    class Slow:
        def __init__(self, file: bytes, threads: int, check: Any) -> None:
            made.append(threads)

        def run(self, image: Any) -> Any:
            time.sleep(0.02)  # so that every interpreter is needed
            return np.zeros(1, np.float32)

    def interpreters(count: int, **options: Any) -> list[int]:
        made.clear()
        LiteRTNetwork(b"1234", **options)(np.zeros((count, 1, 1, 3), np.uint8))
        return made

    monkeypatch.setattr(engines, "_Interpreter", Slow)
    monkeypatch.setattr(engines, "cpu_count", lambda: 16)
    assert interpreters(64) == [1] * 16
    assert interpreters(3) == [1] * 3
    assert interpreters(1) == [1, 16]
    assert interpreters(1, images=1) == [16]
    assert interpreters(2, images=1) == [16, 1, 1]
    monkeypatch.setattr(engines, "MEMORY", 10)
    assert interpreters(64) == [8, 8]
    assert interpreters(1) == [8]  # a third one is too much


@pytest.mark.parametrize(
    ("wanted", "installed", "gpu", "images", "chosen"),
    [
        ("auto", True, False, None, "litert"),
        ("auto", True, True, None, "keras"),
        ("auto", True, True, 3, "litert"),  # not worth the import of TensorFlow
        ("auto", False, False, 3, "keras"),
        ("keras", True, False, 3, "keras"),
        ("litert", True, True, 10_000, "litert"),
    ],
)
def test_the_choice(
    monkeypatch: Patch, wanted: str, installed: bool, gpu: bool, images: int | None, chosen: str
) -> None:
    monkeypatch.setattr(engines, "has_litert", lambda: installed)
    monkeypatch.setattr(engines, "has_gpu", lambda: gpu)
    assert choose_engine(wanted, images) == chosen


def test_unknown_and_absent_engines_are_said(monkeypatch: Patch) -> None:
    with pytest.raises(TlkitError, match="unknown engine 'onnx'"):
        choose_engine("onnx")
    monkeypatch.setattr(engines, "has_litert", lambda: False)
    with pytest.raises(TlkitError, match="not installed"):
        choose_engine("litert")


def test_no_driver_no_question(monkeypatch: Patch) -> None:
    """Whether there is a GPU is not asked of TensorFlow, which takes seconds, where no driver is loaded."""
    monkeypatch.setattr(engines, "import_tensorflow", lambda: pytest.fail("TensorFlow was asked"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not engines.has_gpu()


def test_a_conversion_is_kept_and_a_damaged_one_is_not_used(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path))
    wanted = conversions.Conversion((("stage1", 3), ("top", 5)), b"graph" * 1000)
    assert conversions.find("net", "hash", 64) is None
    conversions.keep("net", "hash", 64, wanted)
    conversions.keep("net", "hash", 64, wanted)  # as a second process would
    assert conversions.find("net", "hash", 64) == wanted
    assert conversions.find("net", "hash", 65) is None
    assert conversions.find("net", "other", 64) is None
    (folder,) = (path for path in (tmp_path / conversions.SECTION).iterdir() if path.is_dir())
    (folder / MARKER).unlink()  # as made before there were markers: its name and its content tell what it is
    assert conversions.find("net", "hash", 64) == wanted
    assert (folder / MARKER).is_file()
    (folder / conversions.GRAPH).write_bytes(b"grapf" + b"graph" * 999)
    (folder / MARKER).unlink()
    assert conversions.find("net", "hash", 64) is None
    assert folder.exists()  # it may be anything
    make_entry(folder)
    assert conversions.find("net", "hash", 64) is None
    assert not folder.exists()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind here")
def test_a_cache_that_cannot_be_written_costs_only_the_reuse(monkeypatch: Patch, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    conversions.keep("net", "hash", 64, conversions.Conversion((("top", 5),), b"graph"))
    assert conversions.find("net", "hash", 64) is None


@pytest.mark.parametrize("fault", ["fails", "differs"])
def test_a_network_litert_cannot_run_is_left_to_keras(monkeypatch: Patch, tmp_path: Path, fault: str) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path))

    def fails(*_: object) -> bytes:
        raise ValueError("no such operation\nand more")

    other = open_extractor(catalog.DEFAULT, input_size=64, engine="litert").graph
    monkeypatch.setattr(extractor, "_graph_of", fails if fault == "fails" else lambda *_: other)
    notes: list[str] = []
    show = SilentProgress()
    monkeypatch.setattr(show, "note", notes.append)
    made = open_extractor(catalog.DEFAULT, weights="none", input_size=64, progress=show)
    assert made.engine == "keras"
    made.convert(show)  # as saving does: not tried again, nor said
    assert made.forward()(images(1, 64)).shape == (1, sum(width for _, width in made.taps))
    assert len(notes) == 1
    assert "Keras" in notes[0]
    assert ("no such operation" in notes[0]) == (fault == "fails")
    assert not (tmp_path / conversions.SECTION).exists()
