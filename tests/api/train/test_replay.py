"""A plan does again what was done: the same plan, the same figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from digits import small_network

import tlkit
from tlkit.api.recommend.plan_file import read_plan
from tlkit.api.train import trained as module
from tlkit.errors import TlkitError

pytestmark = pytest.mark.usefixtures("one_bundle")

FROZEN: dict[str, Any] = {"strategy": "freeze", "backbone": "efficientnet-lite0", "image_size": 32}
QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 16}
Make = Callable[..., Path]


@pytest.fixture
def images(make_folder: Make) -> Path:
    """Two classes with a split of their own, a training image of which has a copy in val/."""
    root = make_folder({"train/a": 14, "train/b": 12, "val/a": 5, "val/b": 5})
    shutil.copy(root / "train" / "a" / "0.png", root / "val" / "a" / "copy.png")
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network of three convolutions: what is done again does not depend on the network."""
    file = tmp_path_factory.mktemp("small") / "small.keras"
    small_network(rescaling=True).save(file)
    return str(file)


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
        {**FROZEN, "drop_leaks": True, "unknown_rate": 0.2, "seed": 3},
        {**FROZEN, "features": "all", "class_weights": "none"},
        {"strategy": "early-layers", "image_size": 32, "epochs": 0},
    ],
    ids=["freeze", "freeze-all", "early-layers, head only"],
)
def test_a_plan_that_trains_no_weights_gives_the_same(options: dict[str, Any], images: Path, tmp_path: Path) -> None:
    first = tlkit.train(images, output=tmp_path / "first.tlkit", **options)
    assert first.plan.strategy == options["strategy"]
    assert first.plan.recipe is None
    assert_same(first, again(images, first, tmp_path))


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "last-layers", **QUICK, "augment": "none"},
        {"strategy": "fine-tune", **QUICK, "learning_rate": 1e-3, "mixed_precision": True},
        pytest.param({"strategy": "early-layers", **QUICK, "drop_leaks": True}, marks=pytest.mark.thorough),
    ],
    ids=lambda options: options["strategy"],
)
def test_a_plan_that_trains_weights_gives_the_same(
    options: dict[str, Any], small: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "better", lambda ours, frozen, images: True)
    first = tlkit.train(images, backbone=small, output=tmp_path / "first.tlkit", **options)
    assert first.plan.strategy == options["strategy"]
    assert first.plan.recipe is not None
    with pytest.raises(TlkitError, match="the plan's backbone small-"):
        again(images, first, tmp_path)  # a bundle holds the name of its file alone
    assert_same(first, again(images, first, tmp_path, backbone=small))
    assert f"--backbone {small}" in (first.model / "report.html").read_text()


def test_what_the_advisor_chose_is_done_again_without_asking_it(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tlkit.train(images, image_size=32, time_budget=1, output=tmp_path / "first.tlkit", report=False)
    assert first.plan.strategy == "freeze"  # all that fits into a second
    assert first.plan.expected is not None
    assert first.plan.flips is not None

    def asked(*_: Any) -> Any:
        raise AssertionError("the advisor was asked")

    monkeypatch.setattr("tlkit.api.recommend.measure.measure", asked)
    assert_same(first, again(images, first, tmp_path))


def test_a_run_from_a_bundle_needs_the_bundle_again(small: str, images: Path, tmp_path: Path) -> None:
    def frozen(name: str, **options: Any) -> tlkit.TrainResult:
        return tlkit.train(images, strategy="freeze", output=tmp_path / f"{name}.tlkit", **options)

    base = frozen("base", backbone=small, report=False)
    first = frozen("first", from_bundle=base.model)
    with pytest.raises(TlkitError, match="starts from the bundle base") as caught:
        again(images, first, tmp_path)
    assert caught.value.hint == "give its location with --from"
    assert_same(first, again(images, first, tmp_path, from_bundle=base.model))
    assert f"--from {base.model}" in (first.model / "report.html").read_text()
    other = frozen("other", backbone=small, seed=1, report=False)
    with pytest.raises(TlkitError, match="is not the weights file that the plan was made with"):
        tlkit.train(images, plan=first.plan, from_bundle=other.model, output=tmp_path / "no.tlkit")
