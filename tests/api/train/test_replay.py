"""A plan does again what was done: the same plan, the same figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tlkit
from tlkit.api.recommend.plan_file import read_plan
from tlkit.api.train import trained as module
from tlkit.errors import TlkitError

QUICK: dict[str, Any] = {"image_size": 32, "epochs": 1, "batch_size": 16}
SMALL: dict[str, Any] = {**QUICK, "image_size": None, "backbone": "small"}  # that of the fixture
Make = Callable[..., Path]


@pytest.fixture
def images(make_folder: Make) -> Path:
    """Two classes with a split of their own, a training image of which has a copy in val/."""
    root = make_folder({"train/a": 14, "train/b": 12, "val/a": 5, "val/b": 5})
    shutil.copy(root / "train" / "a" / "0.png", root / "val" / "a" / "copy.png")
    return root


def again(images: Path, first: tlkit.TrainResult, place: Path, **options: Any) -> tlkit.TrainResult:
    plan = read_plan(first.model / "plan.json")
    assert plan == first.plan
    assert plan.complete
    return tlkit.train(images, plan=plan, output=place / "again.tlkit", **options)


def assert_same(first: tlkit.TrainResult, second: tlkit.TrainResult) -> None:
    assert second.plan == first.plan
    assert second.metrics == first.metrics
    manifests = [json.loads((each.model / "tlkit.json").read_text()) for each in (first, second)]
    for name in ("split", "classes", "calibration", "unknown", "flips", "backbone", "weights", "strategy", "boundary"):
        assert manifests[0][name] == manifests[1][name], name


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "freeze", "image_size": 32, "drop_leaks": True, "unknown_rate": 0.2, "seed": 3},
        {"strategy": "freeze", "image_size": 32, "features": "all", "class_weights": "none"},
        {"strategy": "early-layers", "image_size": 32, "epochs": 0},
        {"strategy": "last-layers", **QUICK, "augment": "none"},
        {"strategy": "fine-tune", **SMALL, "learning_rate": 1e-3, "mixed_precision": True},
        {"strategy": "early-layers", **SMALL, "drop_leaks": True},
    ],
    ids=lambda options: "-".join(str(options.get(name, "")) for name in ("strategy", "features", "epochs")),
)
def test_the_same_plan_gives_the_same(
    options: dict[str, Any], images: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if options.get("backbone") == "small":
        options = {**options, "backbone": str(small)}
    monkeypatch.setattr(module, "better", lambda ours, frozen, images: True)
    first = tlkit.train(images, output=tmp_path / "first.tlkit", **options)
    assert first.plan.strategy == options["strategy"]
    assert first.plan.tunes == (first.plan.recipe is not None)
    assert_same(first, again(images, first, tmp_path))


def test_what_the_advisor_chose_is_done_again_without_asking_it(images: Path, tmp_path: Path) -> None:
    first = tlkit.train(images, image_size=32, advisor="rule", output=tmp_path / "first.tlkit", epochs=1)
    assert first.plan.expected is None or first.plan.strategy
    assert_same(first, again(images, first, tmp_path))


def test_a_run_from_a_bundle_needs_the_bundle_again(images: Path, tmp_path: Path) -> None:
    base = tlkit.train(images, strategy="freeze", image_size=32, output=tmp_path / "base.tlkit")
    first = tlkit.train(images, strategy="freeze", from_bundle=base.model, output=tmp_path / "first.tlkit")
    with pytest.raises(TlkitError, match="starts from the bundle base") as caught:
        again(images, first, tmp_path)
    assert caught.value.hint == "say with --from where it is now"
    assert_same(first, again(images, first, tmp_path, from_bundle=base.model))
    report = (first.model / "report.html").read_text()
    assert f"--from {base.model}" in report
    other = tlkit.train(images, strategy="freeze", image_size=32, seed=1, output=tmp_path / "other.tlkit")
    with pytest.raises(TlkitError, match="is not the weights that this began with"):
        tlkit.train(images, plan=first.plan, from_bundle=other.model, output=tmp_path / "no.tlkit")
