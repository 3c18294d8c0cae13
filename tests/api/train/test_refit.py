"""The final refit of a frozen network's head: on which images, and what the figures are of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tlkit

pytestmark = pytest.mark.usefixtures("one_bundle")

Make = Callable[..., Path]
PLAIN: dict[str, Any] = {
    "strategy": "freeze",
    "backbone": "efficientnet-lite0",
    "image_size": 32,
    "features": "last",
    "report": False,
}


def trained(images: Path, place: Path, **options: Any) -> tlkit.TrainResult:
    return tlkit.train(images, output=place, **PLAIN, **options)


def head_of(result: tlkit.TrainResult) -> np.ndarray:
    return np.asarray(tlkit.load(result.model).model.get_layer("logits").get_weights()[0])


def test_the_head_gets_all_images_and_the_figures_stay(make_folder: Make, tmp_path: Path) -> None:
    images = make_folder({"a": 16, "b": 14})
    plain = trained(images, tmp_path / "plain.tlkit", refit=False)
    refit = trained(images, tmp_path / "refit.tlkit")
    assert plain.refit == ()
    assert refit.refit == ("train", "val")
    assert refit.metrics == plain.metrics
    assert not np.allclose(head_of(refit), head_of(plain))
    assert any("solved once more on all 30 images" in line for line in refit.accuracies())
    assert not any("once more" in line for line in plain.accuracies())
    assert refit.to_json()["refit"] == {"splits": ["train", "val"], "images": 30}
    manifest = json.loads((refit.model / "tlkit.json").read_text())
    assert manifest["refit"] == ["train", "val"]
    assert manifest["held_out"] == {"source": "cross-validated", "images": 30}, "no image is held out any more"
    assert tlkit.load(plain.model).manifest["held_out"] == {"source": "held out", "images": 6}
    found = tlkit.load(refit.model).held_out
    assert found is not None
    assert len(found) == refit.to_json()["promise"]["images"] == 30
    assert sorted(set(manifest["split"].values())) == ["train", "val"]


def test_it_is_the_head_of_a_training_on_all_images(make_folder: Make, tmp_path: Path) -> None:
    from tlkit.backbones.extractor import columns_of, open_extractor
    from tlkit.backbones.features import compute_features
    from tlkit.images.folder import scan
    from tlkit.linear.head import solve_head

    images = make_folder({"a": 12, "b": 12})
    refit = trained(images, tmp_path / "m.tlkit", class_weights="none")
    folder, extractor = scan(images), open_extractor("efficientnet-lite0", input_size=32)
    found = compute_features(folder.paths, extractor, taps=["top"])
    assert columns_of(found.taps, ["top"]) == list(range(1280))
    c = trained(images, tmp_path / "plain.tlkit", class_weights="none", refit=False).plan.reasons
    strength = next(float(line.split("C = ")[1].split(",")[0]) for line in c if "C = " in line)
    head = solve_head(found.matrix, folder.labels, 2, c=strength)
    logits = found.matrix @ (head_of(refit) - head.kernel)
    assert np.ptp(logits[:, 0] - logits[:, 1]) < 0.05  # up to the order of rows and the rounding of C


def test_images_of_ones_own_val_and_test_stay_held_out(make_folder: Make, tmp_path: Path) -> None:
    images = make_folder({"train/a": 12, "train/b": 12, "val/a": 4, "val/b": 4, "test/a": 3, "test/b": 3})
    result = trained(images, tmp_path / "m.tlkit")
    assert result.refit == ()
    assert tlkit.evaluate(images, result.model).used.count("train") == 0
    half = make_folder({"train/a": 12, "train/b": 12, "test/a": 3, "test/b": 3}, name="half")
    assert trained(half, tmp_path / "half.tlkit").refit == ("train", "val")


def test_evaluate_knows_which_images_the_head_has_seen(make_folder: Make, tmp_path: Path) -> None:
    images = make_folder({"a": 16, "b": 14})
    for options, used in (({"refit": False}, (24, 6)), ({}, (30, 0))):
        result = trained(images, tmp_path / f"{len(options)}.tlkit", **options)
        found = tlkit.evaluate(images, result.model)
        assert (found.used.count("train"), found.used.count("val")) == used
        assert any("used in training" in line for line in found.warnings)


def test_a_tuned_network_is_not_refitted(
    make_folder: Make, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlkit.api.train.trained.better", lambda ours, frozen, images: True)
    result = tlkit.train(
        make_folder({"a": 12, "b": 12}),
        strategy="last-layers",
        backbone=str(small),
        epochs=1,
        batch_size=8,
        augment="none",
        output=tmp_path / "m.tlkit",
        report=False,
    )
    assert result.plan.strategy == "last-layers"
    assert result.refit == ()


def test_features_that_do_not_fit_in_memory_give_the_same_network(
    make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    class Noting(tlkit.progress.SilentProgress):
        def note(self, message: str) -> None:
            notes.append(message)

    images = make_folder({"a": 16, "b": 14})
    (images / "a" / "broken.png").write_bytes(b"no image")
    expected = trained(images, tmp_path / "memory.tlkit")
    monkeypatch.setattr("tlkit.backbones.features.ALWAYS", 0)
    monkeypatch.setenv("TLKIT_MEMORY", "100KB")
    found = trained(images, tmp_path / "disk.tlkit", progress=Noting())
    assert notes[0] == "the features are kept in a file: they need 1 MB of memory, and 1 MB may be used"
    assert found.metrics["val_accuracy"] == expected.metrics["val_accuracy"]
    np.testing.assert_allclose(head_of(found), head_of(expected), atol=5e-2 * np.abs(head_of(expected)).max())
