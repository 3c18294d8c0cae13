"""The main stages of ``train`` and ``recommend``, which are numbered while they run."""

from __future__ import annotations

from tlkit.api.train.options import TrainOptions
from tlkit.context import Context
from tlkit.plan.choices import AUTO
from tlkit.plan.plan import Plan

IMAGES = "Reading the images"
NETWORKS = "Comparing frozen networks"
ADVICE = "Choosing the strategy"
HEAD = "Solving the head"
TUNING = "Fine-tuning"
EVALUATION = "Evaluating"
SAVING = "Saving"


def expect_advice(request: TrainOptions, context: Context) -> None:
    """Expect the stages of ``recommend``."""
    context.stages.expect(*_preparation(request), ADVICE)


def expect_training(request: TrainOptions, context: Context) -> None:
    """Expect the stages of ``train``; with "auto", the advice decides whether weights are trained."""
    if request.strategy == AUTO:
        context.stages.expect(*_preparation(request), ADVICE, *_from_head(True), certain=False)
    else:
        context.stages.expect(*_preparation(request), *_from_head(request.tunes))


def expect_rest(plan: Plan, context: Context) -> None:
    """Expect what is left when the plan is complete: the number of stages is known from here on."""
    context.stages.expect(*_from_head(plan.tunes))


def compares_networks(request: TrainOptions) -> bool:
    """Whether frozen networks are compared by their backbone, input size or features."""
    return not request.names_tuning and None in (request.backbone, request.image_size, request.features)


def _preparation(request: TrainOptions) -> tuple[str, ...]:
    return (IMAGES, NETWORKS) if compares_networks(request) else (IMAGES,)


def _from_head(tunes: bool) -> tuple[str, ...]:
    return (HEAD, TUNING, EVALUATION, SAVING) if tunes else (HEAD, EVALUATION, SAVING)
