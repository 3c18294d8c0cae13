"""The Recipe: all settings of a fine-tuning run, as plain data, with defaults that depend on the data set size."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from tlkit.plan.choices import LIGHT, NONE, STRONG
from tlkit.plan.fields import record_of
from tlkit.schema import OneOf, Positive, Share, Within

FROZEN, MOVING = "frozen", "moving"
BEST, LAST = "best", "last"
BATCH = 32
STEPS_PER_ROOT = 8  # optimizer steps = 8 * sqrt(training images)
MIN_STEPS, MAX_STEPS = 50, 2500
LEARNING_RATE = 3e-4  # low, so that little is unlearnt (benchmarks/forgetting.py)
LAYER_DECAY = 1.0  # of the learning rate per stage; smaller values were never better (benchmarks/recipe.py)
WEIGHT_DECAY = 0.01
WARM_UP = 0.1
CLIP = 1.0
EPSILON = 1e-7
LABEL_SMOOTHING = 0.1  # without it, Adam takes full steps along gradients that have almost vanished
PATIENCE = 0.4  # share of the steps that may pass without a lower validation loss or a higher accuracy
AUGMENT = "light"
MIN_EVALUATIONS = 4  # validations without progress before training stops early
MAX_EVALUATIONS = 20  # validations in one run
SAFE_SHARE = 0.5  # of the tuned weights in those that are saved, if validation images cannot choose it
MIN_TO_SELECT = 100  # validation images; with fewer, the best of many evaluations is mostly luck

_Setting = Annotated[float, Within(0, 1e9)]


@dataclass(frozen=True)
class Recipe:
    """The settings of a fine-tuning run.

    Attributes:
        steps: Optimizer steps of the whole schedule.
        batch_size: Images per step.
        learning_rate: Peak learning rate, that of the head; None: `LEARNING_RATE`.
        layer_decay: Factor on the learning rate from each stage to the one before it, 0..1.
        weight_decay: Decoupled weight decay of kernels, relative to the learning rate (AdamW); none for normalisation
            parameters and biases.
        l2_sp: Decay of all weights towards the values they start from (L2-SP), relative to the learning rate; 0: none.
        warm_up: Share of the steps in which the learning rate rises to its peak; afterwards it follows a half cosine.
        clip: Maximum global norm of the gradient.
        epsilon: Added to the square root of Adam's second moment; gradients far below it cause only small steps.
        label_smoothing: Share of the probability that is spread over all classes, 0..1.
        augment: "none", "light" or "strong".
        flip: Whether images are also mirrored.
        batch_norm: "frozen": BatchNorm uses its pre-trained statistics, which stay bit-identical. "moving": it uses
            and updates the statistics of each batch.
        evaluate_every: Steps between evaluations on the validation images.
        patience: Steps without a lower validation loss or a higher accuracy after which training stops.
        precision: Precision of the computation, "float32" or "bfloat16"; weights are float32.
        views: Number of stored versions of each image, including the original, if the outputs of a frozen part are
            stored; 0: nothing is stored.
        keep: Which weights are kept: "best", of the best evaluation, or "last", of the last one.
        interpolation: Share of the trained weights in those that are saved, 0..1; the rest is that of the weights
            training started from (WiSE-FT). None: to be chosen on the validation images.
    """

    steps: Positive
    batch_size: Annotated[int, Within(1, 1_000_000)]
    learning_rate: Annotated[float, Within(0, 1)] | None
    layer_decay: Share = LAYER_DECAY
    weight_decay: _Setting = WEIGHT_DECAY
    l2_sp: _Setting = 0.0
    warm_up: Share = WARM_UP
    clip: _Setting = CLIP
    epsilon: _Setting = EPSILON
    label_smoothing: Share = LABEL_SMOOTHING
    augment: Annotated[str, OneOf((NONE, LIGHT, STRONG))] = LIGHT
    flip: bool = False
    batch_norm: Annotated[str, OneOf((FROZEN, MOVING))] = FROZEN
    evaluate_every: Positive = 1
    patience: Positive = 1
    precision: Annotated[str, OneOf(("float32", "bfloat16"))] = "float32"
    views: Annotated[int, Within(0, 1000)] = 0
    keep: Annotated[str, OneOf((BEST, LAST))] = BEST
    interpolation: Share | None = 1.0

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dump``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Recipe:
        """Rebuild a recipe from the result of `to_json`.

        Raises:
            TlkitError: Fields are missing or unknown, have another type, or are out of bounds.
        """
        return record_of(cls, data, "recipe")


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
    """Return the recipe for a number of training images; explicit settings are used as they are.

    Args:
        images: Number of training images.
        validation: Number of validation images. With fewer than `MIN_TO_SELECT`, they do not choose the share of the
            trained weights, select weights or stop training early. None: enough.
        epochs: Number of epochs; None: `step_budget` decides, and the schedule runs to its end.
        batch_size: Images per step; None: `BATCH`, or all images if there are fewer.
        learning_rate: Peak learning rate; None: `LEARNING_RATE`.
        augment: "auto", "none", "light" or "strong".
        flip: Whether mirroring is harmless.
        precision: "float32" or "bfloat16".
    """
    size = min(batch_size or BATCH, images)
    steps = step_budget(images) if epochs is None else max(1, math.ceil(epochs * images / size))
    every, patience = evaluation_schedule(steps, images, size)
    kind = AUGMENT if augment == "auto" else augment
    few = validation is not None and validation < MIN_TO_SELECT
    # a network that gains in the end is often worse in the middle, so only a schedule that was asked for is cut short
    select = epochs is not None and not few
    return Recipe(
        steps=steps,
        batch_size=size,
        learning_rate=LEARNING_RATE if learning_rate is None else learning_rate,
        augment=kind,
        flip=flip and kind != "none",
        evaluate_every=every,
        patience=patience if select else steps,
        precision=precision,
        keep=BEST if select else LAST,
        interpolation=SAFE_SHARE if few else None,
    )


def step_budget(images: int) -> int:
    """Return the number of optimizer steps for a number of training images.

    It grows with the square root of the number of images. Choosing steps instead of epochs by data set size follows
    Kolesnikov et al. 2020, "Big Transfer", where a table gives three levels.
    """
    return min(MAX_STEPS, max(MIN_STEPS, round(STEPS_PER_ROOT * math.sqrt(images))))


def evaluation_schedule(steps: int, images: int, batch_size: int) -> tuple[int, int]:
    """Return (steps between evaluations, steps of patience).

    Evaluations are whole epochs apart, with at most `MAX_EVALUATIONS` in a run.
    """
    epoch = max(1, math.ceil(images / batch_size))
    every = epoch * max(1, math.ceil(steps / MAX_EVALUATIONS / epoch))
    every = min(every, steps)
    return every, max(MIN_EVALUATIONS * every, math.ceil(PATIENCE * steps))


def rate_at(recipe: Recipe, progress: float) -> float:
    """Return the learning rate, as a share of its peak, at a point of the schedule.

    Linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017, "SGDR"; Goyal et al. 2017 for the warm-up).

    Args:
        recipe: The recipe, which gives the length of the warm-up.
        progress: Share of the schedule that is done, 0..1.
    """
    if progress < recipe.warm_up:
        return progress / recipe.warm_up
    rest = max(1e-9, 1 - recipe.warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - recipe.warm_up) / rest)))
