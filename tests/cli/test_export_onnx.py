"""``tlkit export --format onnx``, from a bundle to ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran, Trained

from tlkit.api.export import formats
from tlkit.bundle.load import load
from tlkit.images.read import read_image


@pytest.mark.parametrize(("precision", "bound", "size"), [("fp32", 1e-4, 14.5e6), ("half", 0.02, 7.5e6)])
def test_a_bundle_becomes_a_file_that_answers_like_predict(
    tlkit: Callable[..., Ran], trained: Trained, garden: Path, tmp_path: Path, precision: str, bound: float, size: float
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    arguments = ("export", "--model", trained.bundle, "--format", "onnx", "--precision", precision, "--images", garden)
    ran = tlkit(*arguments, "--output", "out", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    (its,) = ran.json["exports"]
    assert its["agreement"]["max_difference"] <= bound
    assert its["agreement"]["same_label"] == 1.0
    assert its["size_bytes"] < size
    file = tmp_path / "out" / "model.onnx"
    assert sorted(path.name for path in file.parent.iterdir()) == ["export.json", "model.onnx"]
    session, bundle = onnxruntime.InferenceSession(str(file)), load(trained.bundle)
    photo = read_image(next((garden / "birds").iterdir()), bundle.input_size)[None]
    probabilities, score = session.run(["probabilities", "ood_score"], {"image": photo.astype(np.float32)})
    np.testing.assert_allclose(probabilities, bundle.probabilities(photo), atol=bound)
    assert bundle.ood is not None
    wanted = bundle.ood.score(bundle.forward()(photo)[:, 4:])
    np.testing.assert_allclose(score, wanted, atol=1e-3 if precision == "fp32" else 0.2)
    card = json.loads(session.get_modelmeta().custom_metadata_map["tlkit"])
    assert card == ran.json["card"]


def test_int8_is_refused_and_what_is_possible_is_said(
    tlkit: Callable[..., Ran], trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "is_installed", lambda module: True)
    ran = tlkit(
        "export", "--model", trained.bundle, "--format", "onnx", "--precision", "int8", "--output", "out", cwd=tmp_path
    )
    assert (ran.code, ran.out) == (2, "")
    assert "error: onnx cannot be exported as int8\nhint: onnx can be fp32 or fp16" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_before_any_work(
    tlkit: Callable[..., Ran], trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(formats, "is_installed", lambda module: module != missing)
    ran = tlkit("export", "--model", trained.bundle, "--format", "onnx", "--output", "out", cwd=tmp_path)
    assert ran.code == 2
    assert f'error: to export onnx, {missing} is missing\nhint: pip install "tlkit[onnx]"\n' in ran.err
    assert list(tmp_path.iterdir()) == []
