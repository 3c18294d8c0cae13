"""The functions behind the commands, called from Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Trained

import tlkit
from tlkit.images.read import read_image
from tlkit.plan.plan import Plan
from tlkit.progress import SilentProgress

Make = Callable[..., Path]
Patch = pytest.MonkeyPatch
SMALL: dict[str, Any] = {"backbone": "efficientnet-lite0", "image_size": 64}  # for speed


class Notes(SilentProgress):
    """Keeps what was noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_train_and_predict_from_python(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 6, "b": 6})
    result = tlkit.train(root, strategy="freeze", backbone="efficientnet-lite0", output=tmp_path / "m.tlkit", seed=3)
    assert isinstance(result, tlkit.TrainResult)
    assert result.plan.seed == 3
    rows = tlkit.predict([root / "a"], model=result.model)
    assert len(rows) == 6
    assert all(isinstance(row, tlkit.Prediction) and row.label in result.classes for row in rows)
    assert Plan.from_json(json.loads((result.model / "plan.json").read_text())) == result.plan
    assert json.loads(json.dumps(result.to_json()))["model"] == str(result.model)


def test_the_saved_networks_answer_as_head_on_features(trained: Trained, unseen: Path) -> None:
    """Backbone, pooling and head in one saved model give what was measured on the features, on both engines."""
    from tlkit.backbones.extractor import columns_of, open_extractor

    pixels = np.stack([read_image(file, (224, 224)) for file in sorted(unseen.iterdir())])
    bundle = tlkit.load(trained.bundle)
    extractor = open_extractor("efficientnet-lite0", engine="litert")
    features = extractor.forward()(pixels)[:, columns_of(extractor.taps, ["top"])]
    kernel, bias = bundle.model.get_layer("logits").get_weights()
    logits = features @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for engine in ("litert", "keras"):
        np.testing.assert_allclose(bundle.forward(engine)(pixels)[:, :4], expected, atol=1e-4)


def test_training_on_either_engine_measures_the_same(make_folder: Make, tmp_path: Path, monkeypatch: Patch) -> None:
    root = make_folder({"a": 8, "b": 8})
    results = []
    for engine in ("litert", "keras"):
        monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / engine))
        output = tmp_path / f"{engine}.tlkit"
        results.append(tlkit.train(root, strategy="freeze", output=output, engine=engine, **SMALL))
        assert results[-1].reused == 0
        assert (results[-1].model / "model.tflite").is_file()
    one, two = (result.metrics for result in results)
    assert one["val_accuracy"] == two["val_accuracy"]
    assert one["val_loss"] == pytest.approx(two["val_loss"], abs=1e-3)


def test_engines_that_do_not_agree_leave_keras(make_folder: Make, tmp_path: Path, monkeypatch: Patch) -> None:
    """A network for LiteRT that answers otherwise is not put into the bundle, and that is said."""
    from tlkit.backbones.litert import heads as lite_heads

    attach = lite_heads.attach_head
    monkeypatch.setattr(
        lite_heads, "attach_head", lambda graph, taps, kernel, *others: attach(graph, taps, -kernel, *others)
    )
    show = Notes()
    root = make_folder({"a": 6, "b": 6})
    result = tlkit.train(root, strategy="freeze", output=tmp_path / "m.tlkit", progress=show, **SMALL)
    assert any("differ" in note and "Keras" in note for note in show.notes)
    assert not (result.model / "model.tflite").exists()
    assert all(row.label for row in tlkit.predict([tmp_path / "images" / "a"], model=result.model))
    with pytest.raises(tlkit.TlkitError, match=r"model\.tflite"):
        tlkit.predict([tmp_path / "images"], model=result.model, engine="litert")


def test_without_litert_keras_does_it(make_folder: Make, tmp_path: Path, monkeypatch: Patch) -> None:
    from tlkit.backbones import engines, extractor

    for module in (engines, extractor):
        monkeypatch.setattr(module, "has_litert", lambda: False)
    root = make_folder({"a": 6, "b": 6})
    result = tlkit.train(root, strategy="freeze", output=tmp_path / "m.tlkit", **SMALL)
    assert not (result.model / "model.tflite").exists()
    assert all(row.label for row in tlkit.predict([root], model=result.model))
    with pytest.raises(tlkit.TlkitError, match="not installed") as caught:
        tlkit.train(root, strategy="freeze", engine="litert")
    assert "pip install" in str(caught.value.hint)


def test_a_network_that_is_not_packaged_is_converted_once(
    make_folder: Make, tmp_path: Path, monkeypatch: Patch
) -> None:
    from tlkit.backbones.litert import conversions

    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    options = {"strategy": "freeze", "backbone": "mobilenet-v3-small", "weights": "none", "image_size": 64}
    root = make_folder({"a": 6, "b": 6})
    first = tlkit.train(root, output=tmp_path / "one.tlkit", **options)
    monkeypatch.setattr(conversions, "convert", None)  # calling it would fail
    again = tlkit.train(root, output=tmp_path / "two.tlkit", **options)
    assert again.reused == 12
    assert again.metrics == first.metrics
    assert (again.model / "model.tflite").is_file()


def test_the_bundle_is_one_flat_model_of_rgb_pixels(trained: Trained) -> None:
    model = tlkit.load(trained.bundle).model
    assert model.input_shape == (None, 224, 224, 3)
    assert not [layer for layer in model.layers if hasattr(layer, "layers")]
    assert [layer.name for layer in model.layers[-3:]] == ["head_pool", "logits", "probabilities"]


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = tlkit.nothing


@pytest.mark.parametrize(
    ("options", "taps"),
    [
        ({"strategy": "freeze", "features": "all"}, 7),
        ({"strategy": "early-layers", "boundary": "stage3", "epochs": 0}, 1),
        ({"strategy": "early-layers", "boundary": "stage4", "features": "all", "epochs": 0}, 4),
    ],
)
def test_heads_on_other_stages(make_folder: Make, tmp_path: Path, options: dict[str, Any], taps: int) -> None:
    """Both networks of the bundle answer as the head on the features does, and hold only what it needs."""
    root = make_folder({"a": 8, "b": 8})
    tlkit.recommend(root, **SMALL)  # computes the features
    result = tlkit.train(root, output=tmp_path / "part.tlkit", image_size=64, **options)
    assert len(result.plan.taps) == taps
    assert result.plan.boundary == options.get("boundary")
    assert result.reused == 16  # the stages came with the top
    bundle = tlkit.load(result.model)
    pixels = np.stack([read_image(file, (64, 64)) for file in sorted((root / "a").iterdir())])
    lite, keras = bundle.forward("litert")(pixels), bundle.forward("keras")(pixels)
    np.testing.assert_allclose(lite[:, :2], keras[:, :2], atol=1e-4)
    np.testing.assert_allclose(lite, keras, atol=1e-4 * np.abs(keras).max())
    if "boundary" in options:
        names = {layer.name for layer in bundle.model.layers}
        assert not any(name.startswith(("block6", "top")) for name in names)
        for file in ("model.tflite", "model.keras"):  # the whole network's are over 13 MB
            assert (result.model / file).stat().st_size < 13_000_000 / 3
    assert Plan.from_json(json.loads((result.model / "plan.json").read_text())) == result.plan


def test_early_layers_chooses_its_stage_by_measure(make_folder: Make, tmp_path: Path) -> None:
    result = tlkit.train(
        make_folder({"a": 8, "b": 8}), output=tmp_path / "m.tlkit", strategy="early-layers", epochs=0, **SMALL
    )
    assert result.plan.boundary in ("stage2", "stage3", "stage4", "stage5")
    assert result.plan.taps == (result.plan.boundary,)
    assert any("lowest log loss" in reason for reason in result.plan.reasons)


def test_a_plan_of_an_earlier_version_is_read(trained: Trained) -> None:
    data = json.loads((trained.bundle / "plan.json").read_text())
    for name in ("features", "boundary", "taps"):
        del data[name]
    assert Plan.from_json(data).taps == ("top",)
    with pytest.raises(tlkit.TlkitError, match="not a plan of this version; missing or unknown fields: seed"):
        Plan.from_json({name: value for name, value in data.items() if name != "seed"})
