"""The functions behind the commands, called from Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Trained

import tlkit
from tlkit.images.read import read_image
from tlkit.training.plan import Plan

Make = Callable[..., Path]


def test_train_and_predict_from_python(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 6, "b": 6})
    result = tlkit.train(root, output=tmp_path / "m.tlkit", seed=3)
    assert isinstance(result, tlkit.TrainResult)
    assert result.plan.seed == 3
    rows = tlkit.predict([root / "a"], model=result.model)
    assert len(rows) == 6
    assert all(isinstance(row, tlkit.Prediction) and row.label in result.classes for row in rows)
    assert Plan.from_json(json.loads((result.model / "plan.json").read_text())) == result.plan
    assert json.loads(json.dumps(result.to_json()))["model"] == str(result.model)


def test_the_saved_network_answers_as_head_on_features(trained: Trained, unseen: Path) -> None:
    """Backbone, pooling and head in one saved model give what was measured on the features."""
    from tlkit.backbones.build import build_backbone
    from tlkit.backbones.features import TOP, columns_of, forward_pass, tap_widths

    pixels = np.stack([read_image(file, (224, 224)) for file in sorted(unseen.iterdir())])
    bundle = tlkit.load(trained.bundle)
    network = build_backbone("efficientnet-lite0")
    features = forward_pass(network)(pixels)[:, columns_of(tap_widths(network), [TOP])]
    kernel, bias = bundle.model.get_layer("logits").get_weights()
    logits = features @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(bundle.probabilities(pixels), expected, atol=1e-4)


def test_the_bundle_is_one_flat_model_of_rgb_pixels(trained: Trained) -> None:
    model = tlkit.load(trained.bundle).model
    assert model.input_shape == (None, 224, 224, 3)
    assert not [layer for layer in model.layers if hasattr(layer, "layers")]
    assert [layer.name for layer in model.layers[-3:]] == ["head_pool", "logits", "probabilities"]


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = tlkit.nothing
