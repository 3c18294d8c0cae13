from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran

from tlkit.api.doctor import Diagnosis
from tlkit.backbones import catalog


def test_it_says_what_works_and_what_to_do_about_the_rest(tlkit: Callable[..., Ran], tmp_path: Path) -> None:
    row = catalog.get("vgg16")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / row.weights_file).write_bytes(b"half a file")
    env = {"KERAS_HOME": str(tmp_path), "TLKIT_CACHE": str(tmp_path / "cache"), "TLKIT_CACHE_SIZE": "lots"}
    ran = tlkit("doctor", "--json", env=env)
    assert ran.code == 0
    assert not ran.json["ok"]
    found = {(each["section"], each["name"]): each for each in ran.json["findings"]}
    assert found["libraries", "tensorflow"]["state"] == "works"
    assert found["engines", "LiteRT"]["state"] == found["engines", "Keras"]["state"] == "works"
    assert "ms per image" in found["engines", "LiteRT"]["detail"]
    assert found["weights", catalog.DEFAULT]["state"] == "works"
    assert found["weights", "vgg16"]["state"] == "broken"
    assert found["weights", "vgg16"]["advice"] == "tlkit backbones fetch vgg16"
    assert found["cache", "folder"]["state"] == "broken"
    assert "TLKIT_CACHE_SIZE is not a size" in found["cache", "folder"]["detail"]
    assert "JPEG" in found["images", "formats"]["detail"]
    assert {each["name"] for each in ran.json["findings"] if each["section"] == "extras"} == {
        "cloud",
        "coreml",
        "heif",
        "onnx",
        "openvino",
        "parquet",
        "quantize",
        "serve",
        "tensorboard",
    }
    assert not (tmp_path / "cache").exists()


@pytest.mark.thorough
def test_it_measures_each_engine(tlkit: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    from tlkit.api import machine

    monkeypatch.setattr("tlkit.api.doctor.examine", lambda show: Diagnosis(()))
    monkeypatch.setattr(machine.benchmark, "__kwdefaults__", {"seconds": 0.0})
    monkeypatch.setattr(machine, "BATCH", 2)
    monkeypatch.setattr(machine, "batch_size", lambda: 2)
    ran = tlkit("doctor", "--benchmark", "--json")
    assert ran.code == 0, ran.err
    found = ran.json["benchmark"]
    assert [each["work"] for each in found] == ["decode", "forward", "forward", "train step", "head"]
    assert found[1]["engine"].startswith("LiteRT")
    assert found[2]["engine"].startswith("Keras")
    for each in found:
        assert each["seconds"] > 0
        assert each["images_per_second"] == pytest.approx(each["images"] / each["seconds"], abs=0.1)


def test_it_measures_what_is_installed(tlkit: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    from tlkit.api import machine

    monkeypatch.setattr(machine, "has_keras", lambda: False)
    monkeypatch.setattr("tlkit.api.doctor.examine", lambda show: Diagnosis(()))
    monkeypatch.setattr(machine.benchmark, "__kwdefaults__", {"seconds": 0.0})
    found = tlkit("doctor", "--benchmark", "--json").json["benchmark"]
    assert [each["work"] for each in found] == ["decode", "forward", "head"]
    assert found[1]["engine"].startswith("LiteRT")
    shown = tlkit("doctor", "--benchmark").out
    assert "images a second" in shown
    assert "scikit-learn" in shown
