"""Choose the learning rate by held-out loss: a low rate first, and a higher one only if the data ask for it.

At the low rate little is unlearnt, and what is learnt can be halved by interpolation (`finetune/interpolation.py`). If
the fully trained network is clearly better on held-out images than the frozen one, there is more to learn than a low
rate can reach; if not, a higher rate makes it worse (benchmarks/forgetting.py). A few steps show neither: in the middle
of a schedule, networks that gain in the end are often still worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tlkit.finetune.interpolation import Mix
from tlkit.plan.recipe import MIN_TO_SELECT, Recipe

HIGHER_RATE = 1e-3  # peak rate if the data ask for more
MORE_STEPS = 2  # times the steps of the first training
MIN_FALL = 0.1  # of the held-out loss, relative
MIN_HELD_OUT = 20  # held-out images; fewer cannot ask for more
MIN_TRAIN = 63  # training images; fewer are memorised at the higher rate


@dataclass(frozen=True)
class Trial:
    """What training at a rate did to the log loss on held-out images.

    Attributes:
        rate: Peak learning rate.
        before: Log loss of the frozen network on the validation images, calibrated, nats.
        after: That of the trained one, not interpolated.
        error: Standard error of the difference, nats.
        more: Whether a higher rate is worth trying.
    """

    rate: float
    before: float
    after: float
    error: float
    more: bool


def trial_of(recipe: Recipe, mixes: Sequence[Mix], images: int) -> Trial | None:
    """Return what a training run says about its rate; None if its start or end was not evaluated, or it diverged.

    Args:
        recipe: How weights were trained.
        mixes: Networks between start and end of the run.
        images: Number of training images.
    """
    found = {mix.share: mix for mix in mixes}
    if 0.0 not in found or 1.0 not in found or recipe.learning_rate is None:
        return None
    before, after = found[0.0].losses, found[1.0].losses
    if not np.isfinite(after).all():
        return None
    fall = before - after
    error = float(np.std(fall, ddof=1) / math.sqrt(len(fall))) if len(fall) > 1 else math.inf
    clear = float(fall.mean()) >= max(MIN_FALL * float(before.mean()), error)
    more = clear and len(fall) >= MIN_HELD_OUT and images >= MIN_TRAIN and recipe.learning_rate < HIGHER_RATE
    return Trial(recipe.learning_rate, float(before.mean()), float(after.mean()), error, more)


def higher(recipe: Recipe, validation: int, more_steps: int = MORE_STEPS) -> Recipe:
    """Return the recipe for the higher rate.

    Networks half-way to it can be worse than either end, so that without enough validation images to choose the share,
    the trained weights are saved as they are.

    Args:
        recipe: The recipe for the low rate.
        validation: Number of validation images.
        more_steps: Times its steps.
    """
    few = validation < MIN_TO_SELECT
    return replace(
        recipe,
        learning_rate=HIGHER_RATE,
        steps=more_steps * recipe.steps,
        evaluate_every=more_steps * recipe.evaluate_every,
        patience=more_steps * recipe.patience,
        interpolation=1.0 if few else None,
    )
