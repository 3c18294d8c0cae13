"""Training with tuned weights, called from Python: strategies, the safety net, resuming, bundles to start from."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tlkit
from tlkit.api.train import trained as module
from tlkit.api.train.run_dir import open_run, run_folder
from tlkit.errors import TlkitError
from tlkit.files import file_hash
from tlkit.finetune import loop as fit
from tlkit.plan.choices import STRATEGIES
from tlkit.plan.plan import Plan
from tlkit.progress import SilentProgress

pytestmark = pytest.mark.usefixtures("one_bundle")

Patch = pytest.MonkeyPatch
QUICK: dict[str, Any] = {"image_size": 32, "epochs": 2, "batch_size": 16, "learning_rate": 1e-3}
TUNED = [each for each in STRATEGIES if each != "freeze"]


class Told(SilentProgress):
    """Keeps what was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.milestones: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def milestone(self, message: str) -> None:
        self.milestones.append(message)


Tuned = Callable[[str], tuple[tlkit.TrainResult, Told]]


@pytest.fixture
def keep_tuned(monkeypatch: Patch) -> None:
    """Tuned weights are saved even where they are no better, which on so few images is chance."""
    monkeypatch.setattr(module, "better", lambda ours, frozen, images: True)


@pytest.fixture(scope="module")
def tuned(garden: Path, one_bundle: None, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """The sample's bundle of a strategy, its tuned weights kept: trained when a test first asks for it, to be read."""
    place = tmp_path_factory.mktemp("tuned")

    @functools.cache
    def get(strategy: str) -> tuple[tlkit.TrainResult, Told]:
        told, output = Told(), place / f"{strategy}.tlkit"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "better", lambda ours, frozen, images: True)
            return tlkit.train(garden, strategy=strategy, output=output, progress=told, **QUICK), told

    return get


@pytest.mark.parametrize("strategy", TUNED)
def test_each_strategy_trains_what_it_says_and_nothing_else(strategy: str, tuned: Tuned) -> None:
    from tlkit.backbones.build import build_backbone

    result, told = tuned(strategy)
    assert result.plan.strategy == strategy
    assert result.plan.recipe is not None
    assert result.tuning is not None
    assert result.tuning.kept
    assert not run_folder(result.model).exists()
    assert any(line.startswith("step 0 of ") for line in told.milestones)
    bundle = tlkit.load(result.model)
    network = build_backbone("efficientnet-lite0", input_size=32)
    original = {layer.name: layer.get_weights() for layer in network.model.layers}
    ends = {stage.name: stage.layer for stage in network.stages}
    names = [layer.name for layer in network.model.layers]
    limit = names.index(ends[result.plan.boundary]) if result.plan.boundary else len(names)
    changed, still = 0, 0
    for layer in bundle.model.layers:
        if layer.name not in original:
            continue
        weights = layer.get_weights()
        if "_bn" in layer.name:  # the statistics are bit-identical
            for ours, theirs in zip(weights[2:], original[layer.name][2:], strict=True):
                np.testing.assert_array_equal(ours, theirs)
        same = all(np.array_equal(a, b) for a, b in zip(weights, original[layer.name], strict=True))
        if strategy == "last-layers" and names.index(layer.name) <= limit:
            assert same, layer.name
        if strategy == "early-layers":
            assert names.index(layer.name) <= limit, layer.name
        changed += bool(weights) and not same
        still += bool(weights) and same
    if result.tuning.best_step:
        assert changed > 5
        assert (still > 5) == (strategy == "last-layers")
    rows = list(csv.DictReader((result.model / "history.csv").read_text().splitlines()))
    assert rows[0]["step"] == "0"
    assert float(rows[0]["val_accuracy"]) == pytest.approx(result.tuning.frozen_val_accuracy, abs=0.3)
    assert str(result.tuning.best_step) in [row["step"] for row in rows]
    assert result.plan.recipe.interpolation == result.tuning.share < 1  # as there are few validation images
    assert any("trained and" in reason for reason in result.plan.reasons)
    assert Plan.from_json(json.loads((result.model / "plan.json").read_text())) == result.plan


def test_both_engines_agree_on_tuned_bundles(tuned: Tuned, garden: Path) -> None:
    from tlkit.images.read import read_image

    files = sorted(path for path in garden.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))[::9]
    pixels = np.stack([read_image(file, (32, 32)) for file in files])
    for result, _ in map(tuned, TUNED):
        bundle = tlkit.load(result.model)
        lite, keras = bundle.forward("litert")(pixels), bundle.forward("keras")(pixels)
        np.testing.assert_allclose(lite[:, :4], keras[:, :4], atol=1e-4, err_msg=result.plan.strategy)
        assert lite.shape[1] > 4 + 100  # features, by which unknown images are told
        np.testing.assert_allclose(lite, keras, atol=1e-4 * np.abs(keras).max(), err_msg=result.plan.strategy)


def test_vectors_of_tuned_bundles_are_what_their_heads_see(tuned: Tuned, unseen: Path) -> None:
    """A bundle that ends early has that stage for its top, and none behind."""
    from tlkit.backbones.runtime import import_keras
    from tlkit.images.read import read_image

    for strategy, width in (("fine-tune", 1280), ("early-layers", None)):
        result, _ = tuned(strategy)
        rows = tlkit.embed([unseen], model=result.model)
        network = tlkit.load(result.model).model
        seen = import_keras().Model(network.input, network.get_layer("head_pool").output)
        pixels = np.stack([read_image(Path(row.file), (32, 32)) for row in rows]).astype(np.float32)
        wanted, found = np.asarray(seen(pixels, training=False)), np.stack([row.vector for row in rows])
        assert width in (None, found.shape[1])
        np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max(), err_msg=strategy)
        plain = tlkit.embed([unseen], image_size=32, stage=result.plan.taps[-1])
        assert not np.allclose(np.stack([row.vector for row in plain]), wanted, atol=2e-3 * np.abs(wanted).max())
        again = tlkit.embed([unseen], model=result.model, stage=result.plan.taps[-1])
        assert all(row.reused for row in again)
        np.testing.assert_array_equal(np.stack([row.vector for row in again]), found)
    with pytest.raises(TlkitError, match="no stage 'stage7'"):
        tlkit.embed([unseen], model=tuned("early-layers")[0].model, stage="stage7")


@pytest.mark.parametrize("strategy", ["early-layers"])
def test_what_does_not_help_is_not_saved(
    strategy: str, garden: Path, small: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    options = {**QUICK, "image_size": None, "backbone": str(small)}
    frozen = tlkit.train(garden, strategy="freeze", output=tmp_path / "frozen.tlkit", backbone=str(small))
    monkeypatch.setattr(module, "better", lambda ours, frozen, images: False)
    told = Told()
    result = tlkit.train(garden, strategy=strategy, output=tmp_path / "m.tlkit", progress=told, **options)
    assert result.tuning is not None
    assert not result.tuning.kept
    assert result.plan.strategy == "freeze"
    assert result.metrics == frozen.metrics
    assert any("did not help" in note for note in told.notes)
    for ours, theirs in zip(
        tlkit.load(result.model).model.get_weights(), tlkit.load(frozen.model).model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_better_is_accuracy_then_loss() -> None:
    def metrics(accuracy: float, loss: float) -> dict[str, Any]:
        return {"val_accuracy": accuracy, "val_loss": loss}

    better = module.better
    for images in (2, 1000):
        assert better(metrics(0.9, 2.0), metrics(0.8, 0.1), images)
        assert not better(metrics(0.8, 2.0), metrics(0.9, 0.1), images)
    assert not better(metrics(0.8, 0.1), metrics(0.9, 2.0), 1000)
    assert better(metrics(0.9, 0.1), metrics(0.9, 0.2), 1000)
    assert not better(metrics(0.9, 0.2), metrics(0.9, 0.2), 1000)


def test_a_lower_loss_makes_up_for_two_images() -> None:
    """A difference of two images is chance, also on many."""
    for images, most in ((19, 1), (20, 2), (150, 2), (5000, 2)):
        frozen = {"val_accuracy": 10 / images, "val_loss": 0.5}
        for fewer in range(5):
            tuned = {"val_accuracy": (10 - fewer) / images, "val_loss": 0.4}
            assert module.better(tuned, frozen, images) == (fewer <= most), (images, fewer)
            assert not module.better({**tuned, "val_loss": 0.6}, frozen, images) or (fewer == 0 and images < 100)


def test_of_equals_on_few_images_the_tuned_network_is_taken() -> None:
    """Its loss is raised by smoothed labels, and that of one image would decide."""
    tuned, frozen = {"val_accuracy": 0.9, "val_loss": 0.5}, {"val_accuracy": 0.9, "val_loss": 0.1}
    assert module.better(tuned, frozen, 20)
    assert not module.better(tuned, frozen, 200)


def test_on_few_images_either_accuracy_or_loss_is_enough() -> None:
    """One of 20 images must not decide against a network that is surer of all others."""
    tuned, frozen = {"val_accuracy": 0.9, "val_loss": 0.38}, {"val_accuracy": 0.95, "val_loss": 0.41}
    assert module.better(tuned, frozen, 20)
    assert not module.better(tuned, frozen, 200)
    assert not module.better({**tuned, "val_loss": 0.41}, frozen, 20)


@pytest.mark.parametrize("images", [5, 15, 24, 60, 99])
def test_a_lower_loss_does_not_make_up_for_far_more_mistakes(images: int) -> None:
    """A network that is right on 13% of the images instead of 57% had been kept, as its loss was lower."""
    tuned, frozen = {"val_accuracy": 0.13, "val_loss": 0.8}, {"val_accuracy": 0.57, "val_loss": 1.1}
    assert not module.better(tuned, frozen, images)
    assert module.better({**tuned, "val_accuracy": 0.57 - 1 / images}, frozen, images)


@pytest.mark.parametrize(
    ("strategy", "stops", "packaged"),
    [
        ("last-layers", [5], False),
        ("fine-tune", [3, 6], False),
        pytest.param("fine-tune", [6], True, marks=pytest.mark.thorough),
    ],
)
@pytest.mark.usefixtures("keep_tuned")
def test_a_run_that_was_cut_ends_as_one_that_was_not(
    strategy: str,
    stops: list[int],
    packaged: bool,
    garden: Path,
    tuned: Tuned,
    small: Path,
    tmp_path: Path,
    monkeypatch: Patch,
) -> None:
    """As if the process were killed: after a step nothing is saved or tidied up any more."""
    options = {**QUICK, "strategy": strategy}
    if not packaged:
        options |= {"image_size": None, "backbone": str(small)}
        whole = tlkit.train(garden, output=tmp_path / "whole.tlkit", **options)
    else:
        whole, _ = tuned(strategy)
    monkeypatch.setattr(fit, "MIN_SAVE_INTERVAL", 0.0)

    target = tmp_path / "cut.tlkit"
    for number, step in enumerate(stops):
        with _killed_after(step):
            if number:
                tlkit.resume(run_folder(target))
            else:
                tlkit.train(garden, output=target, **options)
        assert run_folder(target).is_dir()
    result = tlkit.resume(run_folder(target))
    assert result.metrics == whole.metrics
    assert result.plan == whole.plan
    assert not run_folder(target).exists()
    for ours, theirs in zip(
        tlkit.load(result.model).model.get_weights(), tlkit.load(whole.model).model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("keep_tuned")
def test_groups_stay_whole_where_weights_are_trained_and_resumed(
    make_folder: Callable[..., Path], small: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    root = make_folder({f"{label}/{label}{site}": 4 for label in "ab" for site in range(5)})
    options: dict[str, Any] = {"strategy": "fine-tune", "backbone": str(small), "groups": "folder", "report": False}
    options |= {**QUICK, "image_size": None}
    whole = tlkit.train(root, output=tmp_path / "whole.tlkit", **options)
    monkeypatch.setattr(fit, "MIN_SAVE_INTERVAL", 0.0)
    target = tmp_path / "cut.tlkit"
    with _killed_after(2):
        tlkit.train(root, output=target, **options)
    result = tlkit.resume(run_folder(target))
    assert_same_network(result, whole)
    assert result.groups is not None
    assert (result.groups.asked, result.plan.groups) == (True, "folder")
    split = tlkit.load(target).manifest["split"]
    sides = {site: {split[file_hash(file)] for file in site.iterdir()} for site in root.glob("*/*")}
    assert {len(its) for its in sides.values()} == {1}
    assert set.union(*sides.values()) == {"train", "val"}


LOW_THEN_HIGH: dict[str, Any] = {"strategy": "fine-tune", "epochs": 1, "batch_size": 16}


@pytest.fixture
def asks_for_more(monkeypatch: Patch) -> None:
    """Whatever the validation images say."""
    from tlkit.finetune import lr_search

    def more(recipe: Any, mixes: Any, images: int) -> lr_search.Trial | None:
        return lr_search.Trial(recipe.learning_rate, 1.0, 0.5, 0.1, recipe.learning_rate < lr_search.HIGHER_RATE)

    monkeypatch.setattr(lr_search, "trial_of", more)


@pytest.mark.usefixtures("keep_tuned", "asks_for_more")
def test_where_the_data_ask_for_more_training_begins_anew_at_a_higher_rate(
    garden: Path, small: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Cut in either training and resumed, or done again by its plan: always the same network."""
    from tlkit.finetune.lr_search import HIGHER_RATE

    told = Told()
    whole = tlkit.train(garden, output=tmp_path / "whole.tlkit", backbone=str(small), progress=told, **LOW_THEN_HIGH)
    recipe = whole.plan.recipe
    assert recipe is not None
    assert (recipe.learning_rate, recipe.interpolation) == (HIGHER_RATE, 1.0)
    assert any("training again, at a higher rate" in note for note in told.notes)
    assert any("from 1.000 to 0.500, which asks for more" in reason for reason in whole.plan.reasons)
    first = recipe.steps  # as the number of epochs is given
    monkeypatch.setattr(fit, "MIN_SAVE_INTERVAL", -1.0)
    for number, step in enumerate((first, first + 2)):
        target = tmp_path / f"cut{number}.tlkit"
        with _killed_after(step):
            tlkit.train(garden, output=target, backbone=str(small), **LOW_THEN_HIGH)
        assert_same_network(tlkit.resume(run_folder(target)), whole)
    given = tlkit.train(
        garden, output=tmp_path / "given.tlkit", backbone=str(small), learning_rate=3e-4, **LOW_THEN_HIGH
    )
    assert given.plan.recipe is not None
    assert (given.plan.recipe.learning_rate, given.plan.recipe.steps) == (3e-4, first)  # a given rate is used
    again = tlkit.train(garden, output=tmp_path / "again.tlkit", backbone=str(small), plan=whole.plan)
    assert_same_network(again, whole)


def assert_same_network(result: tlkit.TrainResult, other: tlkit.TrainResult) -> None:
    assert result.metrics == other.metrics
    assert result.plan == other.plan
    for ours, theirs in zip(
        tlkit.load(result.model).model.get_weights(), tlkit.load(other.model).model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


class _Killed(BaseException):
    pass


@contextmanager
def _killed_after(steps: int) -> Iterator[None]:
    """The process is as good as killed once it has done some steps."""
    from tlkit.finetune.step import Trainer

    original, done = Trainer.step, 0

    def step(self: Trainer, *arguments: Any) -> Any:
        nonlocal done
        if done == steps:
            raise _Killed
        done += 1
        return original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        with pytest.raises(_Killed):
            yield


def test_a_run_cannot_go_on_with_other_images(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: Patch
) -> None:
    root = make_folder({"a": 8, "b": 8})
    target = tmp_path / "m.tlkit"

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as inner:
        inner.setattr("tlkit.finetune.loop.fit", broken)
        with pytest.raises(KeyboardInterrupt):
            tlkit.train(root, strategy="fine-tune", output=target, **QUICK)
    assert open_run(target).resumed
    with pytest.raises(TlkitError, match="unfinished run"):
        tlkit.train(root, strategy="fine-tune", output=target, **QUICK)
    next((root / "a").iterdir()).unlink()
    with pytest.raises(TlkitError, match="not those that this run started with"):
        tlkit.resume(target)
    assert run_folder(target).is_dir()


def test_nothing_is_left_of_a_run_that_cannot_begin(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 8, "b": 8})
    for file in (root / "a").iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(TlkitError):
        tlkit.train(root, strategy="fine-tune", output=tmp_path / "m.tlkit", **QUICK)
    assert list(tmp_path.glob("*.tlkit*")) == []


@pytest.mark.usefixtures("keep_tuned")
def test_a_time_budget_is_kept(garden: Path, tmp_path: Path, small: Path) -> None:
    """That it ends, long before its epochs do. How closely: tests/finetune/test_loop.py, with a clock of its own, and
    benchmarks/time_budget.py.
    """
    result = tlkit.train(
        garden,
        strategy="fine-tune",
        output=tmp_path / "m.tlkit",
        time_budget=8,
        **{**QUICK, "image_size": None, "backbone": str(small), "epochs": 5000},
    )
    assert result.tuning is not None
    assert result.tuning.stopped == "time budget"


@pytest.mark.parametrize("first", ["fine-tune", pytest.param("early-layers", marks=pytest.mark.thorough)])
def test_a_bundle_to_start_from(
    first: str, garden: Path, make_folder: Callable[..., Path], tuned: Tuned, tmp_path: Path
) -> None:
    base, _ = tuned(first)
    told = Told()
    again = tlkit.train(
        garden, strategy="freeze", from_bundle=base.model, output=tmp_path / "again.tlkit", progress=told
    )
    assert again.plan.input_size == 32
    assert again.plan.weights == f"{first}.tlkit"
    splits = [json.loads((each.model / "tlkit.json").read_text())["split"] for each in (base, again)]
    assert splits[0] == splits[1]
    saved = tlkit.load(base.model).model
    ours = tlkit.load(again.model).model
    names = {layer.name for layer in ours.layers}
    for layer in saved.layers:
        if layer.name in names and layer.name != "logits":
            for a, b in zip(layer.get_weights(), ours.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
    assert any("later ones" in note for note in told.notes) == (first == "early-layers")
    if first == "early-layers":
        return
    others = tlkit.train(
        make_folder({"x": 6, "y": 6, "z": 6}),
        strategy="freeze",
        from_bundle=base.model,
        output=tmp_path / "others.tlkit",
    )
    assert others.classes == ("x", "y", "z")


@pytest.mark.usefixtures("keep_tuned")
def test_mixed_precision_gives_a_plain_float32_network(garden: Path, tmp_path: Path, small: Path) -> None:
    result = tlkit.train(
        garden,
        strategy="fine-tune",
        mixed_precision=True,
        output=tmp_path / "m.tlkit",
        **{**QUICK, "image_size": None, "backbone": str(small), "epochs": 1},
    )
    assert result.plan.recipe is not None
    assert result.plan.recipe.precision == "bfloat16"
    model = tlkit.load(result.model).model
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


def test_options_that_contradict(garden: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"strategy": "freeze", "epochs": 3}, "--epochs requires"),
        ({"strategy": "freeze", "learning_rate": 1e-3}, "--learning-rate requires"),
        ({"strategy": "fine-tune", "epochs": 0}, "--epochs 0 does not apply"),
        ({"strategy": "fine-tune", "boundary": "stage3"}, "--boundary does not apply"),
        ({"strategy": "last-layers", "boundary": "stage99"}, "no stage"),
        ({"strategy": "fine-tune", "learning_rate": 0}, "--learning-rate"),
        ({"strategy": "fine-tune", "learning_rate": float("nan")}, "--learning-rate"),
        ({"strategy": "fine-tune", "batch_size": 0}, "--batch-size"),
        ({"strategy": "fine-tune", "epochs": -1}, "--epochs"),
        ({"strategy": "fine-tune", "augment": "much"}, "--augment"),
        ({"strategy": "fine-tune", "time_budget": 0}, "--time-budget"),
        ({"from_bundle": tmp_path / "none.tlkit"}, "no such bundle"),
        ({"from_bundle": tmp_path, "backbone": "vgg16"}, "--from"),
    ):
        with pytest.raises(TlkitError, match=message):
            tlkit.train(garden, output=tmp_path / "m.tlkit", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_is_damaged_or_none(tmp_path: Path) -> None:
    with pytest.raises(TlkitError, match="no such run"):
        tlkit.resume(tmp_path / "none.tlkit-run")
    with pytest.raises(TlkitError, match="not the folder of a run"):
        tlkit.resume(tmp_path)
    run = tmp_path / "m.tlkit-run"
    run.mkdir()
    for text in ("", "[]", "{}", '{"format": 1}', '{"format": 99}', '{"format": 1, "target": 3, "options": {}}'):
        (run / "run.json").write_text(text)
        with pytest.raises(TlkitError):
            tlkit.resume(run)
