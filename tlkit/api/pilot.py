"""Pilots: a tenth of a fine-tuning on a part of the training pictures, to see whether it will help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from tlkit.advisor.pilot import Pilot
from tlkit.api.dataset import Dataset, require_all
from tlkit.api.options import TrainOptions
from tlkit.api.outcome import frozen_probabilities, metrics_of
from tlkit.api.solving import solve
from tlkit.backbones.extractor import Extractor
from tlkit.images.decoded import decode_all
from tlkit.images.folder import TRAIN, VAL
from tlkit.images.split import stratified_split
from tlkit.progress import Progress
from tlkit.training.plan import EARLY, FREEZE, LAST_LAYERS

if TYPE_CHECKING:
    from tlkit.images.decoded import Decoded

SHARE = 0.1  # of the steps of a whole run
FEWEST_STEPS = 10
HELD_OUT = 0.25  # of each class's training pictures
MOST = 1200  # training pictures that a pilot takes part of


def run_pilots(
    data: Dataset,
    extractor: Extractor,
    strategies: Sequence[str],
    options: TrainOptions,
    *,
    boundary: str | None,
    flip: bool,
    balanced: bool,
    workers: int | None,
    show: Progress,
) -> tuple[Pilot, ...]:
    """Try strategies for a few steps, on the training pictures alone; nothing of it is kept.

    Args:
        data: Pictures, split and features of all taps.
        extractor: The backbone.
        strategies: That tune weights.
        options: Size of the batch, augmentation, rate and seed; the strategy is not used.
        boundary: With "early-layers", the stage to cut after.
        flip: Whether mirroring is harmless.
        balanced: Weigh classes by the inverse of their share.
        workers: Threads and cores; None: all.
        show: Told what goes on.

    Raises:
        TlkitError: A picture cannot be read again, or memory is too small for a single one.
    """
    inner = inner_data(data, options.seed)
    size = (extractor.input_size, extractor.input_size)
    _, head = choice, _ = solve(inner, replace(options, strategy=FREEZE, boundary=None), balanced, show)
    frozen = metrics_of(inner, frozen_probabilities(inner, head, choice))
    found = []
    with decode_all(inner.folder.paths, size, workers=workers, progress=show) as decoded:
        require_all(decoded, inner.folder)
        for strategy in strategies:
            its = replace(options, strategy=strategy, boundary=boundary if strategy == EARLY else None)
            steps, accuracy, loss = _try(inner, decoded, extractor, its, flip, balanced, show)
            found.append(
                Pilot(strategy, len(inner.of(VAL)), steps, frozen["val_accuracy"], frozen["val_loss"], accuracy, loss)
            )
    return tuple(found)


def inner_data(data: Dataset, seed: int) -> Dataset:
    """The training pictures alone, or `MOST` of them, part of them held out as validation pictures; copies together."""
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


def _try(
    inner: Dataset,
    decoded: Decoded,
    extractor: Extractor,
    options: TrainOptions,
    flip: bool,
    balanced: bool,
    show: Progress,
) -> tuple[int, float, float]:
    """Steps made, accuracy and loss of one strategy."""
    from tlkit.api.tuning import make_feed, make_job, training_network, views_for
    from tlkit.backbones.operations import count_operations
    from tlkit.training.fit import fit
    from tlkit.training.hardware import choose_precision, computing_in, device_strategy, enough_memory, keep_memory
    from tlkit.training.rates import best_rate, try_rates
    from tlkit.training.recipe import LAST, make_recipe
    from tlkit.training.trainable import default_boundary, make_trainable

    keep_memory()
    pictures = len(inner.of(TRAIN))
    recipe = make_recipe(
        pictures,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        augment=options.augment,
        flip=flip,
        precision=choose_precision(options.mixed_precision),
    )
    steps = max(FEWEST_STEPS, math.ceil(SHARE * recipe.steps))
    recipe = replace(recipe, steps=steps, evaluate_every=steps, patience=steps, keep=LAST)
    choice, head = solve(inner, options, balanced, show)
    strategy = device_strategy()
    with show.phase("Building the network", None), strategy.scope(), computing_in(recipe.precision):
        network = training_network(extractor)
        stage = None
        if options.strategy == LAST_LAYERS:
            boundary = default_boundary(network.stages, count_operations(network))
            stage = next(each for each in network.stages if each.name == boundary)
        recipe = replace(recipe, views=views_for(recipe, inner, stage))
        trainable = make_trainable(
            network,
            head,
            choice.taps,
            boundary=None if stage is None else stage.name,
            split=recipe.views > 0,
            layer_decay=recipe.layer_decay,
            batch_norm=recipe.batch_norm,
        )
    with ExitStack() as stack, enough_memory():
        feed = make_feed(inner, decoded, extractor, stage, recipe, None, show, stack)
        job = make_job(inner, trainable, recipe, feed, balanced, options.seed, strategy, show)
        if recipe.learning_rate is None:
            trials = try_rates(job, len(inner.folder.classes), show)
            job = replace(job, recipe=replace(recipe, learning_rate=best_rate(trials, pictures)))
        outcome = fit(job, show, title=f"Pilot of {options.strategy}")
    return outcome.steps, outcome.best["val_accuracy"], outcome.best["val_loss"]
