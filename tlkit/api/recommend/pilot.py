"""A pilot: some steps of "last-layers" on a part of the training images, to see whether training weights helps."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace

from tlkit.advisor.advise import Advice, is_open
from tlkit.advisor.pilot import Pilot
from tlkit.api.train.dataset import Dataset, require_all
from tlkit.api.train.head import solve
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.outcome import frozen_probabilities, metrics_of
from tlkit.backbones.extractor import Extractor
from tlkit.images.folder import TRAIN, VAL
from tlkit.images.stratified import stratified_split
from tlkit.plan.plan import LAST, LAST_LAYERS
from tlkit.progress import Progress
from tlkit.store.decoded import decode_all

SHARE = 0.4  # of the steps of a whole run: after a tenth, networks that gain in the end are often worse
HELD_OUT = 1 / 3  # of each class's training images
FEWEST = 20  # held-out images: on fewer a pilot shows nothing
MOST = 800  # training images that a pilot takes part of
TIME_SHARE = 0.2  # of the time there is, that a pilot may take


def is_worthwhile(advice: Advice, images: int, limit: float | None) -> bool:
    """Whether a pilot may say something, and there is time for it.

    Args:
        advice: Without it.
        images: Training images.
        limit: Seconds that training may take; None: no limit.
    """
    enough = round(HELD_OUT * min(images, MOST)) >= FEWEST
    seconds = next(each.seconds for each in advice.candidates if each.strategy == LAST_LAYERS)
    return is_open(advice) and enough and (limit is None or SHARE * seconds <= TIME_SHARE * limit)


def run_pilot(
    data: Dataset,
    extractor: Extractor,
    options: TrainOptions,
    *,
    flip: bool,
    balanced: bool,
    workers: int | None,
    show: Progress,
) -> Pilot:
    """Train the last layers for a while, on the training images alone; nothing of it is kept.

    The last layers, since the outputs below them are computed once, and what they gain says what deeper ones will.

    Args:
        data: Images, split and features.
        extractor: The backbone.
        options: Size of the batch, augmentation, rate and seed; the strategy is not used.
        flip: Whether mirroring is harmless.
        balanced: Weigh classes by the inverse of their share.
        workers: Threads and cores; None: all.
        show: Told what goes on.

    Raises:
        TlkitError: An image cannot be read again, or memory is too small for a single one.
    """
    from tlkit.api.train.network import build, last_layers_from
    from tlkit.finetune.hardware import choose_precision, enough_memory, keep_memory
    from tlkit.finetune.loop import fit
    from tlkit.finetune.lr_search import best_rate, try_rates
    from tlkit.plan.recipe import LAST as LAST_WEIGHTS
    from tlkit.plan.recipe import make_recipe

    keep_memory()
    inner = inner_data(data, options.seed)
    images, size = len(inner.of(TRAIN)), (extractor.input_size, extractor.input_size)
    options = replace(options, strategy=LAST_LAYERS, features=LAST, boundary=last_layers_from(extractor, show))
    choice, head = solve(inner, options, balanced, show)
    frozen = metrics_of(inner, frozen_probabilities(inner, head, choice))
    recipe = make_recipe(
        images,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        augment=options.augment,
        flip=flip,
        precision=choose_precision(options.mixed_precision),
    )
    steps = math.ceil(SHARE * recipe.steps)
    recipe = replace(recipe, steps=steps, evaluate_every=steps, patience=steps, keep=LAST_WEIGHTS)
    with ExitStack() as stack, enough_memory():
        decoded = stack.enter_context(decode_all(inner.folder.paths, size, workers=workers, progress=show))
        require_all(decoded, inner.folder)
        job = build(inner, decoded, extractor, head, choice, recipe, options, balanced, workers, show, stack).job
        if recipe.learning_rate is None:
            trials = try_rates(job, len(inner.folder.classes), show)
            job = replace(job, recipe=replace(job.recipe, learning_rate=best_rate(trials, images)))
        outcome = fit(job, show, title="Pilot")
    return Pilot(
        len(inner.of(VAL)),
        outcome.steps,
        frozen["val_accuracy"],
        frozen["val_loss"],
        outcome.best["val_accuracy"],
        outcome.best["val_loss"],
    )


def inner_data(data: Dataset, seed: int) -> Dataset:
    """The training images alone, or `MOST` of them, part of them held out as validation images; copies together."""
    train = data.of(TRAIN)
    labels, groups = [data.folder.labels[i] for i in train], [data.groups[i] for i in train]
    chosen = list(range(len(train)))
    if len(train) > MOST:
        kept = stratified_split(labels, MOST / len(train), seed, groups)
        chosen = [place for place in chosen if kept[place] == VAL]
    split = stratified_split([labels[i] for i in chosen], HELD_OUT, seed, [groups[i] for i in chosen])
    indices = [train[i] for i in chosen]
    return replace(
        data,
        folder=data.folder.keep(indices).with_splits(split),
        rows=tuple(data.rows[i] for i in indices),
        groups=tuple(data.groups[i] for i in indices),
    )
