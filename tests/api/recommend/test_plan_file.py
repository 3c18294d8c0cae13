"""Plans as files, and options that the advisor has settled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tlkit.advisor.advise import Advice, Candidate
from tlkit.advisor.expect import Expectation
from tlkit.api.recommend.plan_file import options_of, read_plan, write_plan
from tlkit.api.train.options import TrainOptions
from tlkit.errors import TlkitError
from tlkit.plan.plan import Plan
from tlkit.plan.recipe import make_recipe

PLAN = Plan(
    backbone="efficientnet-lite0",
    weights="imagenet",
    strategy="early-layers",
    input_size=128,
    val_split=0.3,
    class_weights="none",
    seed=5,
    boundary="stage4",
    reasons=("because",),
    expected=(0.9, 0.8, 0.95),
)


def advice(strategy: str, boundary: str | None = None) -> Advice:
    candidate = Candidate(strategy, "all", Expectation(0.9, 0.8, 0.95), 10.0, True)
    return Advice(strategy, "all", boundary, "measured", (candidate,), (), ("it is best",))


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    for plan in (
        PLAN,
        replace(PLAN, recipe=make_recipe(50, learning_rate=1e-3)),
        replace(PLAN, expected=None, reasons=()),
    ):
        file = tmp_path / f"{hash(plan)}.json"
        write_plan(file, plan)
        assert read_plan(file) == plan


def test_a_plan_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text("mine")
    with pytest.raises(TlkitError, match="cannot write"):
        write_plan(file, PLAN)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("text", ["", "[]", "3", '{"a": 1}', json.dumps({**PLAN.to_json(), "more": 1})])
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(TlkitError, match="plan"):
        read_plan(tmp_path / "plan.json")


def test_a_plan_decides_the_options() -> None:
    options = replace(TrainOptions(images="x"), **options_of(PLAN))
    options.check()
    assert (options.strategy, options.boundary, options.image_size) == ("early-layers", "stage4", 128)
    assert (options.val_split, options.class_weights, options.seed) == (0.3, "none", 5)
    assert (options.expected, options.advice) == ((0.9, 0.8, 0.95), ("because",))
    assert options.learning_rate is None


def test_a_boundary_goes_with_the_strategies_that_have_one() -> None:
    options = replace(TrainOptions(images="x"), **options_of(replace(PLAN, strategy="freeze")))
    options.check()
    assert options.boundary is None


def test_a_recipe_decides_rate_batch_and_augmentation() -> None:
    recipe = make_recipe(50, learning_rate=2e-4, batch_size=8, augment="strong")
    options = replace(TrainOptions(images="x"), **options_of(replace(PLAN, recipe=recipe)))
    options.check()
    assert (options.learning_rate, options.batch_size, options.augment) == (2e-4, 8, "strong")


def test_weights_of_a_file_are_not_in_a_plan() -> None:
    with pytest.raises(TlkitError, match="weights"):
        options_of(replace(PLAN, weights="mine.h5"))


def test_what_is_for_tuning_is_left_out_where_the_advisor_freezes() -> None:
    asked = TrainOptions(images="x", strategy="auto", learning_rate=1e-3, epochs=3.0, augment="none", batch_size=4)
    asked.check()
    frozen = asked.with_advice(advice("freeze"))
    frozen.check()
    assert (frozen.learning_rate, frozen.epochs, frozen.augment, frozen.batch_size) == (None, None, "auto", None)
    assert not frozen.tunes
    tuned = asked.with_advice(advice("early-layers", "stage4"))
    tuned.check()
    assert (tuned.learning_rate, tuned.epochs, tuned.boundary) == (1e-3, 3.0, "stage4")
    assert tuned.expected == (0.9, 0.8, 0.95)


def test_features_that_were_asked_for_stay() -> None:
    assert TrainOptions(images="x", strategy="auto").with_advice(advice("freeze")).features == "all"
    assert TrainOptions(images="x", strategy="auto", features="all").with_advice(advice("freeze")).features == "all"


def test_options_survive_json_with_the_advice() -> None:
    options = TrainOptions(images="x", strategy="auto").with_advice(advice("fine-tune"))
    assert TrainOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
