"""Confidence is scaled in the weights that are saved, so that whatever runs a bundle gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tlkit
from tlkit.api.train import finishing as module
from tlkit.api.train import trained
from tlkit.api.train.calibration import Calibration
from tlkit.linear.temperature import MIN_IMAGES

pytestmark = pytest.mark.usefixtures("one_bundle")

SMALL: dict[str, Any] = {"backbone": "efficientnet-lite0", "image_size": 32, "features": "last", "report": False}


@pytest.mark.parametrize("strategy", ["freeze", "last-layers"])
def test_a_bundle_gives_the_confidence_that_training_says(
    strategy: str, make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained, "better", lambda ours, frozen, count: True)
    more: dict[str, Any] = {} if strategy == "freeze" else {"epochs": 1, "learning_rate": 1e-3, "augment": "none"}
    images = make_folder({"train/a": 12, "train/b": 12, "val/a": MIN_IMAGES // 2, "val/b": MIN_IMAGES // 2})
    result = tlkit.train(images, strategy=strategy, output=tmp_path / "m.tlkit", **SMALL, **more)
    found = json.loads((result.model / "tlkit.json").read_text())["calibration"]
    assert found["images"] == MIN_IMAGES
    assert found["temperature"] != 1
    assert found["ece_after"] == pytest.approx(result.metrics["val_ece"])
    assert any("temperature" in reason for reason in result.plan.reasons)
    for engine in ("litert", "keras"):
        evaluation = tlkit.evaluate(images, result.model, split="val", engine=engine)
        assert evaluation.metrics.log_loss == pytest.approx(result.metrics["val_loss"], abs=1e-4)
        assert evaluation.metrics.ece == pytest.approx(result.metrics["val_ece"], abs=0.02)


def test_logits_are_divided_and_nothing_else(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_folder({"train/a": 12, "train/b": 12, "val/a": MIN_IMAGES // 2, "val/b": MIN_IMAGES // 2})
    options: dict[str, Any] = {"strategy": "freeze", **SMALL}
    ours = tlkit.train(images, output=tmp_path / "m.tlkit", **options)
    untouched = Calibration(None, MIN_IMAGES, 0.0, 0.0, "left alone")
    monkeypatch.setattr(module, "calibrate", lambda data, probabilities: (untouched, probabilities))
    plain = tlkit.train(images, output=tmp_path / "plain.tlkit", **options)
    said = [np.log(tlkit.evaluate(images, each.model, split="val").probabilities) for each in (ours, plain)]
    odds, plain_odds = (each[:, 0] - each[:, 1] for each in said)
    temperature = json.loads((ours.model / "tlkit.json").read_text())["calibration"]["temperature"]
    np.testing.assert_allclose(odds * temperature, plain_odds, rtol=2e-3, atol=2e-3)


def test_few_validation_images_leave_confidence_alone(garden: Path, tmp_path: Path) -> None:
    result = tlkit.train(garden, strategy="freeze", output=tmp_path / "m.tlkit", **SMALL)
    found = json.loads((result.model / "tlkit.json").read_text())["calibration"]
    assert (found["temperature"], found["images"]) == (None, 16)
    assert found["ece_before"] == found["ece_after"] == pytest.approx(result.metrics["val_ece"])
    assert any("confidence is not calibrated" in reason for reason in result.plan.reasons)
