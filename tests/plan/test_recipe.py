"""The recipe: bounds and consequences, whatever its defaults are."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.errors import TlkitError
from tlkit.plan import recipe as module
from tlkit.plan.choices import FINE_TUNE
from tlkit.plan.plan import Plan
from tlkit.plan.recipe import Recipe, evaluation_schedule, make_recipe, rate_at, step_budget

IMAGES = st.integers(1, 2_000_000)
RECIPE = Recipe(steps=40, batch_size=8, learning_rate=1e-3)


def plan(recipe: Recipe | None) -> Plan:
    return Plan("a-net", "imagenet", FINE_TUNE, 64, 0.2, "auto", 0, taps=("stage2", "top"), recipe=recipe)


@given(IMAGES, IMAGES)
def test_more_images_never_get_fewer_steps_and_all_budgets_are_bounded(one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert module.MIN_STEPS <= step_budget(few) <= step_budget(many) <= module.MAX_STEPS


def test_the_budget_is_not_the_same_for_all() -> None:
    assert step_budget(10) < step_budget(1_000) < step_budget(20_000)
    assert step_budget(1) == module.MIN_STEPS
    assert step_budget(10**9) == module.MAX_STEPS


@given(warm_up=st.floats(0.01, 0.9), steps=st.integers(2, 500))
def test_the_rate_rises_from_nothing_to_its_largest_and_falls_to_nothing(warm_up: float, steps: int) -> None:
    recipe = replace(RECIPE, warm_up=warm_up)
    rising = [rate_at(recipe, warm_up * i / steps) for i in range(steps)] + [rate_at(recipe, warm_up)]
    falling = [rate_at(recipe, min(1.0, warm_up + (1 - warm_up) * i / steps)) for i in range(steps)]
    falling.append(rate_at(recipe, 1.0))
    assert rising[0] == 0
    assert rising[-1] == falling[0] == 1
    assert falling[-1] == pytest.approx(0, abs=1e-12)
    assert all(a < b for a, b in itertools.pairwise(rising))
    assert all(a >= b for a, b in itertools.pairwise(falling))


@given(warm_up=st.floats(0, 0.99), progress=st.floats(0, 1))
def test_the_rate_is_a_share(warm_up: float, progress: float) -> None:
    assert 0 <= rate_at(replace(RECIPE, warm_up=warm_up), progress) <= 1


def test_half_way_down_the_rate_is_half() -> None:
    assert rate_at(replace(RECIPE, warm_up=0.2), 0.6) == pytest.approx(0.5)
    assert rate_at(replace(RECIPE, warm_up=0.2), 0.1) == pytest.approx(0.5)


@given(steps=st.integers(1, 20_000), images=IMAGES, size=st.integers(1, 4096))
def test_validation_images_are_looked_at_in_every_run_after_whole_epochs(steps: int, images: int, size: int) -> None:
    epoch = math.ceil(images / size)
    every, patience = evaluation_schedule(steps, images, size)
    assert 1 <= every <= steps
    assert patience >= every
    assert every % epoch == 0 or every == steps
    if epoch > steps:
        assert every == steps
    assert steps // every <= module.MAX_EVALUATIONS


def test_a_long_run_is_looked_at_often() -> None:
    every, patience = evaluation_schedule(2_000, 320, 32)
    assert 2_000 // every > module.MAX_EVALUATIONS // 2
    assert patience < 2_000


@given(
    images=st.integers(1, 5_000),
    epochs=st.none() | st.floats(0.01, 50),
    size=st.none() | st.integers(1, 512),
    kind=st.sampled_from(["none", "light", "strong"]),
    flip=st.booleans(),
)
def test_what_is_given_is_taken(images: int, epochs: float | None, size: int | None, kind: str, flip: bool) -> None:
    made = make_recipe(
        images, epochs=epochs, batch_size=size, learning_rate=0.0123, augment=kind, flip=flip, precision="bfloat16"
    )
    assert 1 <= made.batch_size <= images
    if size is not None:
        assert made.batch_size == min(size, images)
    if epochs is None:
        assert made.steps == step_budget(images)
    else:
        assert made.steps == max(1, math.ceil(epochs * images / made.batch_size))
    assert (made.learning_rate, made.augment, made.precision) == (0.0123, kind, "bfloat16")
    assert made.flip == (flip and kind != "none")
    every, patience = evaluation_schedule(made.steps, images, made.batch_size)
    assert (made.evaluate_every, made.patience) == (every, made.steps if epochs is None else patience)


def test_of_few_validation_images_no_look_is_trusted() -> None:
    few = make_recipe(800, epochs=20, validation=module.MIN_TO_SELECT - 1)
    many = make_recipe(800, epochs=20, validation=module.MIN_TO_SELECT)
    assert (few.keep, few.patience, few.interpolation) == ("last", few.steps, module.SAFE_SHARE)
    assert (many.keep, many.interpolation) == ("best", None)
    assert many.patience < many.steps
    assert make_recipe(800, epochs=20) == many


def test_a_short_schedule_runs_to_its_end() -> None:
    """Networks that gain in the end are often worse in the middle; what is too much is taken back by mixing."""
    made = make_recipe(800)
    assert (made.keep, made.patience, made.interpolation) == ("last", made.steps, None)


def test_an_epoch_passes_over_all_images() -> None:
    assert make_recipe(100, epochs=3, batch_size=30).steps * 30 >= 300
    assert make_recipe(100, epochs=3, batch_size=25).steps == 12


def test_what_is_not_given_is_settled() -> None:
    made = make_recipe(50, flip=True)
    assert made.learning_rate == module.LEARNING_RATE <= 3e-4  # a low one
    assert made.augment in ("none", "light", "strong")
    assert made.batch_norm in ("frozen", "moving")


@given(
    rate=st.none() | st.floats(1e-8, 1),
    flip=st.booleans(),
    steps=st.integers(1, 10**6),
    smoothing=st.floats(0, 1),
    views=st.integers(0, 8),
    share=st.none() | st.floats(0, 1),
)
def test_it_survives_json(
    rate: float | None, flip: bool, steps: int, smoothing: float, views: int, share: float | None
) -> None:
    recipe = Recipe(steps, 7, rate, flip=flip, label_smoothing=smoothing, views=views, interpolation=share)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_only_what_has_no_default_is_needed() -> None:
    """A recipe from before there was interpolation saves the trained weights, as it did then."""
    assert RECIPE.interpolation == 1
    assert Recipe.from_json({"steps": 40, "batch_size": 8, "learning_rate": 1e-3}) == RECIPE


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({**asdict(RECIPE), "momentum": 0.9}, "momentum"),
        ({"steps": 3, "batch_size": 2}, "learning_rate"),
        ({}, "batch_size"),
    ],
)
def test_one_of_another_version_is_refused(data: dict[str, Any], named: str) -> None:
    with pytest.raises(TlkitError, match=named):
        Recipe.from_json(data)


@pytest.mark.parametrize("recipe", [None, RECIPE, make_recipe(33, augment="strong", flip=True)])
def test_a_plan_keeps_its_recipe(recipe: Recipe | None) -> None:
    found = Plan.from_json(json.loads(json.dumps(plan(recipe).to_json())))
    assert found == plan(recipe)
    assert type(found.recipe) is type(recipe)


def test_a_plan_with_a_recipe_of_another_version_is_refused() -> None:
    data = plan(RECIPE).to_json()
    data["recipe"]["momentum"] = 0.9
    with pytest.raises(TlkitError, match="not a recipe of this version; missing or unknown fields: momentum"):
        Plan.from_json(data)


def test_a_plan_from_before_there_were_recipes_is_read() -> None:
    data = plan(None).to_json()
    del data["recipe"]
    assert Plan.from_json(data) == plan(None)
