"""A pilot: a short trial of "last-layers" on part of the training images, to see whether fine-tuning helps."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from tlkit.advisor.advise import Advice, is_unclear
from tlkit.advisor.costs import TRAININGS
from tlkit.advisor.pilot import Pilot
from tlkit.api.train.dataset import Dataset, require_all
from tlkit.api.train.head import solve
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.start import Start
from tlkit.backbones.extractor import Extractor
from tlkit.context import Context
from tlkit.images.folder import TRAIN, VAL
from tlkit.images.stratified import stratified_split
from tlkit.plan.choices import FREEZE, LAST_LAYERS
from tlkit.plan.plan import Plan
from tlkit.plan.recipe import LAST, Recipe, make_recipe
from tlkit.store.decoded import decode_all
from tlkit.store.disk_matrix import in_memory

SHARE = 0.8  # of the steps of a training: after a tenth, networks that gain in the end are often still worse
HELD_OUT = 1 / 3  # of each class's training images
MIN_HELD_OUT = 20  # held-out images: with fewer a pilot shows nothing
MAX_TRAINING = 800  # training images used in a pilot
TIME_SHARE = 0.2  # of the time limit that a pilot may take
LONGEST_PILOT = 180.0  # seconds, if there is no limit


def is_worthwhile(advice: Advice, images: int, limit: float | None) -> bool:
    """Whether a pilot can change the advice, and there is time for it.

    Args:
        advice: The advice without a pilot.
        images: Number of training images.
        limit: Seconds that training may take; None: no limit.
    """
    enough = round(HELD_OUT * min(images, MAX_TRAINING)) >= MIN_HELD_OUT
    seconds = next(each.seconds for each in advice.candidates if each.strategy == LAST_LAYERS)
    most = LONGEST_PILOT if limit is None else TIME_SHARE * limit
    may_train = advice.strategy != FREEZE or advice.uncertain is not None
    return may_train and is_unclear(advice) and enough and SHARE / TRAININGS * seconds <= most


def run_pilot(dataset: Dataset, extractor: Extractor, start: Start, flip: bool, context: Context) -> Pilot:
    """Train the last layers for a short time, on the training images only; nothing of it is kept.

    The last layers are cheap, since the outputs below them are computed once, and their gain predicts that of
    deeper layers.

    Args:
        dataset: Images, split and features.
        extractor: The backbone.
        start: Batch size, augmentation and learning rate, and the features of the frozen head to compare with.
        flip: Whether mirroring is harmless.
        context: Context of the run.

    Raises:
        TlkitError: An image cannot be read again, or memory is too small for a single one.
    """
    from tlkit.api.train.network import Material, build, last_layers_from
    from tlkit.finetune.hardware import choose_precision, explain_out_of_memory, keep_memory
    from tlkit.finetune.interpolation import mix_of, mix_of_logits
    from tlkit.finetune.loop import fit

    keep_memory()
    request, show, inner = start.request, context.show, inner_dataset(dataset, context.seed)
    plan = _pilot_plan(extractor, request, last_layers_from(extractor, show), context.seed)
    solved = solve(inner, plan, context)
    rival = solve(inner, replace(plan, strategy=FREEZE, boundary=None, features=start.plan.features), context)
    recipe = _shortened(
        make_recipe(
            inner.count(TRAIN),
            batch_size=request.batch_size,
            learning_rate=request.learning_rate,
            augment=request.augment,
            flip=flip,
            precision=choose_precision(request.mixed_precision),
        )
    )
    with ExitStack() as stack, explain_out_of_memory():
        size = (extractor.input_size, extractor.input_size)
        decoded = stack.enter_context(decode_all(inner.folder.paths, size, workers=context.workers, progress=show))
        require_all(decoded, inner.folder)
        job = build(Material(inner, decoded, extractor, plan, context), solved, recipe, stack).job
        outcome = fit(job, show, title="Pilot")
        tuned = mix_of(job, 1.0)
    logits = rival.head.logits(in_memory(inner.matrix(VAL, rival.choice.taps))).astype(np.float64)
    frozen = mix_of_logits(logits, np.asarray(inner.labels(VAL), dtype=np.int32), 0.0)
    fall = frozen.losses - tuned.losses
    return Pilot(
        inner.count(VAL),
        outcome.steps,
        frozen.val_accuracy,
        frozen.calibrated_loss,
        tuned.val_accuracy,
        tuned.calibrated_loss,
        float(np.std(fall, ddof=1) / math.sqrt(len(fall))),
    )


def _pilot_plan(extractor: Extractor, request: TrainOptions, boundary: str, seed: int) -> Plan:
    return Plan(
        backbone=extractor.backbone.name,
        weights=extractor.weights,
        strategy=LAST_LAYERS,
        input_size=extractor.input_size,
        val_split=HELD_OUT,
        class_weights=request.class_weights,
        seed=seed,
        boundary=boundary,
    )


def _shortened(recipe: Recipe) -> Recipe:
    """Shorten the recipe to a share of its steps, with one evaluation at the end."""
    steps = math.ceil(SHARE * recipe.steps)
    return replace(recipe, steps=steps, evaluate_every=steps, patience=steps, keep=LAST, interpolation=1.0)


def inner_dataset(dataset: Dataset, seed: int) -> Dataset:
    """Split the training images, `MAX_TRAINING` at most, into training and validation; copies stay together."""
    train, labels, groups = dataset.of(TRAIN), dataset.labels(TRAIN), dataset.groups(TRAIN)
    chosen = list(range(len(train)))
    if len(train) > MAX_TRAINING:
        kept = stratified_split(labels, MAX_TRAINING / len(train), seed, groups)
        chosen = [place for place in chosen if kept[place] == VAL]
    split = stratified_split([labels[i] for i in chosen], HELD_OUT, seed, [groups[i] for i in chosen])
    return dataset.part([train[i] for i in chosen], split)
