"""The rate is chosen by the loss on held-out images, never by that on training images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tlkit.finetune.interpolation import Mix
from tlkit.finetune.lr_search import HIGHER_RATE, MIN_TRAIN, MORE_STEPS, Trial, higher, trial_of
from tlkit.plan.recipe import LEARNING_RATE, MIN_TO_SELECT, Recipe, make_recipe

RECIPE = make_recipe(200)


def ends(before: float, fall: float, noise: float, images: int) -> tuple[Mix, Mix]:
    """The frozen and the trained network, by mean loss, mean difference and its deviation between images."""
    losses = np.linspace(0.5, 1.5, images) * before
    falls = fall + noise * np.resize([-1.0, 1.0], images)
    return Mix(0.0, before, 0.5, losses), Mix(1.0, before, 0.5, losses - falls)


def trial(before: float, fall: float, noise: float, images: int = 100, train: int = 200) -> Trial:
    found = trial_of(RECIPE, ends(before, fall, noise, images), train)
    assert found is not None
    return found


def test_a_clear_fall_of_the_held_out_loss_asks_for_more() -> None:
    found = trial(0.5, 0.15, 0.3)
    assert found.more
    assert (found.rate, found.before) == (LEARNING_RATE, pytest.approx(0.5))
    assert found.after == pytest.approx(0.35)
    assert found.error == pytest.approx(0.03, rel=0.02)


@pytest.mark.parametrize(
    ("before", "fall", "noise", "images", "train"),
    [
        (0.5, -0.1, 0.3, 100, 200),  # worse
        (0.5, 0.04, 0.0, 100, 200),  # too little
        (0.5, 0.15, 1.2, 24, 200),  # within one standard error
        (0.5, 0.15, 0.3, 18, 200),  # too few held-out images
        (0.5, 0.15, 0.3, 1, 200),
        (0.5, 0.15, 0.3, 100, MIN_TRAIN - 1),  # too few training images
    ],
)
def test_without_one_the_low_rate_is_enough(before: float, fall: float, noise: float, images: int, train: int) -> None:
    assert not trial(before, fall, noise, images, train).more


def test_what_was_trained_at_a_high_rate_or_diverged_asks_for_nothing() -> None:
    both = ends(0.5, 0.2, 0.1, 100)
    found = trial_of(replace(RECIPE, learning_rate=HIGHER_RATE), both, 200)
    assert found is not None
    assert not found.more
    assert trial_of(RECIPE, (both[0], Mix(1.0, np.nan, 0.5, np.full(100, np.inf))), 200) is None


def test_without_both_ends_nothing_is_known() -> None:
    start, end = ends(0.5, 0.2, 0.1, 100)
    assert trial_of(RECIPE, (), 200) is None
    assert trial_of(RECIPE, (start,), 200) is None
    assert trial_of(RECIPE, (end,), 200) is None


@pytest.mark.parametrize(("validation", "share"), [(MIN_TO_SELECT - 1, 1.0), (MIN_TO_SELECT, None)])
def test_a_higher_rate_gets_more_steps_and_is_mixed_only_by_measuring(validation: int, share: float | None) -> None:
    first = make_recipe(200, validation=validation)
    found = higher(first, validation)
    assert (found.learning_rate, found.interpolation) == (HIGHER_RATE, share)
    assert found.steps == MORE_STEPS * first.steps
    assert found.evaluate_every * 20 >= found.steps
    kept = {"learning_rate", "interpolation", "steps", "evaluate_every", "patience"}
    assert {name for name in vars(Recipe(1, 1, None)) if getattr(found, name) != getattr(first, name)} <= kept
