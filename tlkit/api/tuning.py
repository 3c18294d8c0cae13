"""From a solved head to a network with tuned weights: the tuned strategies of ``train``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.dataset import Dataset, require_all
from tlkit.api.options import TrainOptions
from tlkit.api.runs import RunFolder
from tlkit.api.settled import check_same, choose_rate, keep, plan_time, reasons_of, settle
from tlkit.backbones.extractor import Extractor
from tlkit.cache import cache_limit
from tlkit.images.decoded import Decoded, decode_all
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.progress import Progress
from tlkit.training import augment as augmenting
from tlkit.training.board import board
from tlkit.training.flips import FlipCheck
from tlkit.training.plan import LAST_LAYERS
from tlkit.training.recipe import Recipe

if TYPE_CHECKING:
    from tlkit.backbones.build import Network
    from tlkit.backbones.maps import Maps
    from tlkit.backbones.stages import Stage
    from tlkit.training.boundary import Choice
    from tlkit.training.fit import Job, Outcome
    from tlkit.training.head import Head
    from tlkit.training.trainable import Trainable

SAMPLE, HASTY = 1000, 200  # training pictures that tell what known ones look like in the end; if time is short
MAPS_SHARE = 0.5  # of the cache's bound, that the outputs of a frozen part may take


@dataclass(frozen=True)
class Tuned:
    """A network with tuned weights.

    Attributes:
        model: The ``keras.Model``, float32 RGB 0..255 to probabilities, with the best weights.
        recipe: How it was trained.
        outcome: How that went.
        layers: Of the blocks that the head and `tlkit.training.known` look at, by name.
        probabilities: By split, float32 [n, classes], in the order of `Dataset.of`.
        features: Of the training pictures in ``sample`` and of all validation pictures, by split, float32 [n, columns].
        sample: Indices into the data set's folder.
        flips: What mirroring does; None where nobody asked.
        reasons: Why the recipe is what it is, one sentence each.
        interrupted: Whether it could go on.
    """

    model: Any
    recipe: Recipe
    outcome: Outcome
    layers: dict[str, str]
    probabilities: dict[str, NDArray[np.float32]]
    features: dict[str, NDArray[np.float32]]
    sample: tuple[int, ...]
    flips: FlipCheck | None
    reasons: tuple[str, ...]

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped from outside."""
        from tlkit.training.fit import INTERRUPTED

        return self.outcome.why == INTERRUPTED


def tune(
    data: Dataset,
    extractor: Extractor,
    head: Head,
    choice: Choice,
    options: TrainOptions,
    run: RunFolder,
    *,
    balanced: bool,
    workers: int | None,
    deadline: float | None,
    show: Progress,
) -> Tuned:
    """Train the weights that the strategy names, starting from the solved head (LP-FT).

    Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution": a head that
    is right from the start does not pull the features about.

    Args:
        data: Pictures, split and features.
        extractor: The backbone.
        head: The solved head.
        choice: Its features and the boundary.
        options: What was asked for.
        run: Where the state is kept; what it has decided already is used.
        balanced: Weigh classes by the inverse of their share.
        workers: Threads and cores; None: all.
        deadline: `time.perf_counter` at which the whole command is to end; None: no limit.
        show: Told what goes on.

    Raises:
        TlkitError: The pictures have changed since the run began, the state cannot be written, or memory is too
            small for a single picture.
    """
    from tlkit.training.assemble import layers_of, watched, with_features
    from tlkit.training.fit import INTERRUPTED, fit
    from tlkit.training.hardware import computing_in, device_strategy, enough_memory, keep_memory
    from tlkit.training.interrupt import gentle_interrupt
    from tlkit.training.trainable import make_trainable

    keep_memory()
    check_same(data, run)
    size = (extractor.input_size, extractor.input_size)
    with contextlib.ExitStack() as stack:
        decoded = stack.enter_context(decode_all(data.folder.paths, size, workers=workers, progress=show))
        require_all(decoded, data.folder)
        settled = settle(data, decoded, extractor, head.c, options, run, workers, deadline, show)
        recipe = settled.recipe
        strategy = device_strategy()
        with show.phase("Building the network", None), strategy.scope(), computing_in(recipe.precision):
            network = training_network(extractor)
            boundary = choice.boundary if options.strategy == LAST_LAYERS else None
            stage = next((each for each in network.stages if each.name == boundary), None)
            recipe = replace(recipe, views=views_for(recipe, data, stage))
            trainable = make_trainable(
                network,
                head,
                choice.taps,
                boundary=boundary,
                split=recipe.views > 0,
                layer_decay=recipe.layer_decay,
                batch_norm=recipe.batch_norm,
            )
        feed = make_feed(data, decoded, extractor, stage, recipe, workers, show, stack)
        job = make_job(data, trainable, recipe, feed, balanced, options.seed, strategy, show)
        job, settled = choose_rate(job, replace(settled, recipe=recipe), data, deadline, show)
        sample = sampled(data, options.seed, SAMPLE if deadline is None else HASTY)
        settled = plan_time(job, settled, data, deadline, len(sample))
        keep(settled, data, run)
        with board(options.tensorboard) as observe, gentle_interrupt(show.note) as stop, enough_memory():
            outcome = fit(job, show, folder=run.path, seconds=settled.seconds, stop=stop, observe=observe)
        model = _plain_model(trainable, extractor, head, choice, recipe, strategy)
        shown = watched(extractor.taps, choice.taps)
        layers = layers_of(network, list(dict.fromkeys((*choice.taps, *shown))))
        seen = sample if outcome.why != INTERRUPTED else []
        wide = with_features(model, [layers[tap] for tap in shown])
        probabilities, features = _answers(wide, seen, data, decoded, show)
    reasons = reasons_of(settled, job, len(data.of(TRAIN)), trainable)
    return Tuned(model, job.recipe, outcome, layers, probabilities, features, tuple(seen), settled.flips, reasons)


def sampled(data: Dataset, seed: int, most: int) -> list[int]:
    """Training pictures whose features are computed once more at the end, ``most`` at most."""
    train = data.of(TRAIN)
    return (
        train if len(train) <= most else sorted(np.random.default_rng(seed).choice(train, most, replace=False).tolist())
    )


def training_network(extractor: Extractor) -> Network:
    """A network for training, whose variables are not the extractor's, which stay as they are."""
    from tlkit.backbones.build import build_backbone

    return build_backbone(
        extractor.backbone, weights=extractor.weights, input_size=extractor.input_size, seed=extractor.seed
    )


def views_for(recipe: Recipe, data: Dataset, stage: Stage | None) -> int:
    """How many versions of each picture's map are stored; 0 where there is no frozen part, or no room."""
    if stage is None:
        return 0
    if recipe.views:
        return recipe.views
    count = len(data.of(TRAIN))
    epochs = recipe.steps * recipe.batch_size / count
    wanted = 1 if recipe.augment == augmenting.NONE else min(8, max(2, round(epochs / 3)))
    size = 2 * stage.height * stage.width * stage.channels
    room = int(MAPS_SHARE * cache_limit()) - size * len(data.of(VAL))
    return max(0, min(wanted, room // (size * count)))


def make_feed(
    data: Dataset,
    decoded: Decoded,
    extractor: Extractor,
    stage: Stage | None,
    recipe: Recipe,
    workers: int | None,
    show: Progress,
    stack: contextlib.ExitStack,
) -> Any:
    """Where the inputs come from: pictures, or outputs of the frozen part, computed here and closed by the stack."""
    from tlkit.training.feeds import PixelFeed

    if stage is None or not recipe.views:
        return PixelFeed(decoded)
    from tlkit.backbones.maps import compute_maps
    from tlkit.training.feeds import MapFeed, changer

    kind = json.dumps([recipe.augment, recipe.flip, str(augmenting.AMOUNTS.get(recipe.augment))])

    def maps(split: str, versions: int) -> Maps:
        found = compute_maps(
            decoded,
            data.of(split),
            extractor,
            stage,
            versions=versions,
            kind=kind,
            change=changer(recipe),
            workers=workers,
            progress=show,
        )
        stack.callback(found.close)
        return found

    return MapFeed(maps(TRAIN, recipe.views), maps(VAL, 1), recipe.views)


def make_job(
    data: Dataset,
    trainable: Trainable,
    recipe: Recipe,
    feed: Any,
    balanced: bool,
    seed: int,
    strategy: Any,
    show: Progress,
) -> Job:
    """What is trained on what, with a new optimizer."""
    from tlkit.training.fit import Job
    from tlkit.training.tuner import Tuner

    labels = np.asarray(data.folder.labels, dtype=np.int32)
    train = data.of(TRAIN)
    weights = None
    if balanced:
        share = np.bincount(labels[train], minlength=len(data.folder.classes)) / len(train)
        weights = np.asarray(1 / (share * len(share)), dtype=np.float32)
    tuner = Tuner(trainable, recipe, strategy, show.note)
    return Job(tuner, recipe, feed, labels, tuple(train), tuple(data.of(VAL)), weights, seed)


def _plain_model(
    trainable: Trainable, extractor: Extractor, head: Head, choice: Choice, recipe: Recipe, strategy: Any
) -> Any:
    """The trained network in float32 and on one device, whatever it was trained in and on."""
    from tlkit.training.assemble import attach_head
    from tlkit.training.hardware import FLOAT32

    if recipe.precision == FLOAT32 and strategy.num_replicas_in_sync == 1:
        return trainable.model
    model = attach_head(training_network(extractor), head, choice.taps)
    model.set_weights(trainable.model.get_weights())
    return model


def _answers(
    wide: Any, sample: Sequence[int], data: Dataset, decoded: Decoded, show: Progress
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """What the finished network says of the held-out pictures; its features of these and of the sample."""
    from tlkit.backbones.engines import batch_size, keras_forward

    forward, size, classes = keras_forward(wide), batch_size(), len(data.folder.classes)
    parts = {VAL: data.of(VAL), TEST: data.of(TEST), TRAIN: list(sample)}
    probabilities, features = {}, {}
    with show.phase("Last look at the pictures", sum(map(len, parts.values()))) as advance:
        for split, chosen in parts.items():
            rows = []
            for start in range(0, len(chosen), size):
                rows.append(forward(decoded.pixels(chosen[start : start + size])))
                advance(len(rows[-1]))
            if rows:
                probabilities[split], features[split] = np.split(np.concatenate(rows), [classes], axis=1)
    probabilities.pop(TRAIN, None)
    return probabilities, features
