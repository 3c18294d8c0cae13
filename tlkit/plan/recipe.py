"""How weights are tuned: everything that decides a fine-tuning run, as plain data, with defaults by data set size."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from tlkit.plan.fields import checked

FROZEN, MOVING = "frozen", "moving"
BEST, LAST = "best", "last"
BATCH = 32
STEPS_PER_ROOT = 16  # optimizer steps for each square root of a training image
MIN_STEPS, MAX_STEPS = 100, 5000
LEARNING_RATE = 3e-4  # where it is neither said nor could be checked
LAYER_DECAY = 1.0  # of the rate, from one stage to the one before it: less was never better (benchmarks/recipe.py)
WEIGHT_DECAY = 0.01
WARM_UP = 0.1
CLIP = 1.0
EPSILON = 1e-7
LABEL_SMOOTHING = 0.1  # without it, Adam makes full steps along gradients that have all but vanished
PATIENCE = 0.4  # share of the steps that may pass without a lower validation loss or a higher accuracy
AUGMENT = "light"
MIN_EVALUATIONS = 4  # at the validation images without progress, before training ends early
MAX_EVALUATIONS = 20  # at most, in one run
MIN_TO_SELECT = 100  # validation images; on fewer the best of many looks is mostly luck


@dataclass(frozen=True)
class Recipe:
    """How weights are tuned.

    Attributes:
        steps: Optimizer steps of the whole schedule.
        batch_size: Images a step.
        learning_rate: Largest rate, that of the head; None before it is chosen.
        layer_decay: Factor on the rate from one stage to the one before it, 0..1.
        weight_decay: Decoupled decay of kernels, relative to the rate (AdamW); norms and biases have none.
        warm_up: Share of the steps in which the rate rises to its largest; then it falls as half a cosine.
        clip: Largest global norm of the gradient.
        epsilon: Added to the root of Adam's second moment: far below it, gradients make no full steps.
        label_smoothing: Share of the probability that is spread over all classes, 0..1.
        augment: "none", "light" or "strong".
        flip: Whether images are mirrored too.
        batch_norm: "frozen": BatchNorm uses the statistics it came with and they stay bit-identical. "moving": those
            of each batch, and they are updated.
        evaluate_every: Steps between two looks at the validation images.
        patience: Steps without a lower validation loss or a higher accuracy after which training ends.
        precision: "float32" or "bfloat16" for what is computed; weights are float32.
        views: With stored outputs of a frozen part, how many versions of each image there are, the plain one
            included; 0: nothing is stored.
        keep: "best": the weights of the best look at the validation images. "last": those of the last one.
    """

    steps: int
    batch_size: int
    learning_rate: float | None
    layer_decay: float = LAYER_DECAY
    weight_decay: float = WEIGHT_DECAY
    warm_up: float = WARM_UP
    clip: float = CLIP
    epsilon: float = EPSILON
    label_smoothing: float = LABEL_SMOOTHING
    augment: str = "light"
    flip: bool = False
    batch_norm: str = FROZEN
    evaluate_every: int = 1
    patience: int = 1
    precision: str = "float32"
    views: int = 0
    keep: str = BEST

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dump``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Recipe:
        """Rebuild what `to_json` gave.

        Raises:
            TlkitError: Fields are missing or unknown.
        """
        return cls(**checked(cls, data, "recipe"))


def make_recipe(
    images: int,
    *,
    validation: int | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    augment: str = "auto",
    flip: bool = False,
    precision: str = "float32",
) -> Recipe:
    """The recipe for a number of training images; what is given is taken as it is.

    Args:
        images: To train on.
        validation: Validation images. Of fewer than `MIN_TO_SELECT` no look is trusted; the schedule
            is run to its end. None: many.
        epochs: Passes over them; None: by `step_budget`.
        batch_size: Images a step; None: `BATCH`, fewer where there are fewer.
        learning_rate: Largest rate; None: to be chosen.
        augment: "auto", "none", "light" or "strong".
        flip: Whether mirroring is harmless.
        precision: "float32" or "bfloat16".
    """
    size = min(batch_size or BATCH, images)
    steps = step_budget(images) if epochs is None else max(1, math.ceil(epochs * images / size))
    every, patience = rhythm(steps, images, size)
    kind = AUGMENT if augment == "auto" else augment
    few = validation is not None and validation < MIN_TO_SELECT
    return Recipe(
        steps=steps,
        batch_size=size,
        learning_rate=learning_rate,
        augment=kind,
        flip=flip and kind != "none",
        evaluate_every=every,
        patience=steps if few else patience,
        precision=precision,
        keep=LAST if few else BEST,
    )


def step_budget(images: int) -> int:
    """Optimizer steps for a number of training images.

    They grow with the square root of the images: a step budget by data set size instead of a number of epochs
    follows Kolesnikov et al. 2020, "Big Transfer", whose table has three levels.
    """
    return min(MAX_STEPS, max(MIN_STEPS, round(STEPS_PER_ROOT * math.sqrt(images))))


def rhythm(steps: int, images: int, batch_size: int) -> tuple[int, int]:
    """(steps between two evaluations, steps of patience): whole epochs, at most `MAX_EVALUATIONS` in a run."""
    epoch = max(1, math.ceil(images / batch_size))
    every = epoch * max(1, math.ceil(steps / MAX_EVALUATIONS / epoch))
    every = min(every, steps)
    return every, max(MIN_EVALUATIONS * every, math.ceil(PATIENCE * steps))


def rate_at(recipe: Recipe, progress: float) -> float:
    """The learning rate, as a share of the largest, after a share of the schedule.

    Linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017, "SGDR"; Goyal et al. 2017 for the warm-up).

    Args:
        recipe: Says how long the warm-up is.
        progress: 0..1.
    """
    if progress < recipe.warm_up:
        return progress / recipe.warm_up
    rest = max(1e-9, 1 - recipe.warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - recipe.warm_up) / rest)))
