"""A network that is ready to be trained: which of its weights are, on what, and where the inputs come from."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.options import TrainOptions
from tlkit.backbones.extractor import Extractor
from tlkit.finetune import augmentation as augmenting
from tlkit.images.folder import TRAIN, VAL
from tlkit.plan.plan import LAST_LAYERS
from tlkit.plan.recipe import Recipe
from tlkit.progress import Progress
from tlkit.store.bound import cache_limit
from tlkit.store.decoded import Decoded

if TYPE_CHECKING:
    from tlkit.backbones.network import Network
    from tlkit.backbones.stages import Stage
    from tlkit.finetune.loop import Job
    from tlkit.finetune.maps import Maps
    from tlkit.finetune.trainable import Trainable
    from tlkit.linear.head import Head
    from tlkit.linear.taps import Choice

MAPS_SHARE = 0.5  # of the cache's bound, that the outputs of a frozen part may take


@dataclass(frozen=True)
class Built:
    """A network that is ready to be trained.

    Attributes:
        network: The backbone, with variables of its own.
        trainable: It with the head, and which variables are trained.
        job: What is trained on what; its recipe says how many versions of each image there are.
        strategy: The devices it is on.
    """

    network: Network
    trainable: Trainable
    job: Job
    strategy: Any


def build(
    data: Dataset,
    decoded: Decoded,
    extractor: Extractor,
    head: Head,
    choice: Choice,
    recipe: Recipe,
    options: TrainOptions,
    balanced: bool,
    workers: int | None,
    show: Progress,
    stack: contextlib.ExitStack,
) -> Built:
    """The network, and where its inputs come from, which the stack closes."""
    from tlkit.finetune.hardware import computing_in, device_strategy
    from tlkit.finetune.trainable import make_trainable

    strategy = device_strategy()
    with show.phase("Building the network", None), strategy.scope(), computing_in(recipe.precision):
        network = training_network(extractor)
        boundary = choice.boundary if options.strategy == LAST_LAYERS else None
        stage = next((each for each in network.stages if each.name == boundary), None)
        recipe = replace(recipe, views=_views(recipe, data, stage))
        trainable = make_trainable(
            network,
            head,
            choice.taps,
            boundary=boundary,
            split=recipe.views > 0,
            layer_decay=recipe.layer_decay,
            batch_norm=recipe.batch_norm,
        )
    feed = _feed(data, decoded, extractor, stage, recipe, workers, show, stack)
    job = _job(data, trainable, recipe, feed, balanced, options.seed, strategy, show)
    return Built(network, trainable, job, strategy)


def last_layers_from(extractor: Extractor, show: Progress) -> str:
    """The stage that "last-layers" cuts after where nothing else is said."""
    from tlkit.backbones.operations import count_operations
    from tlkit.finetune.trainable import default_boundary

    with show.phase(f"Building {extractor.backbone.name}", None):
        network = extractor.network
    return default_boundary(network.stages, count_operations(network))


def training_network(extractor: Extractor) -> Network:
    """A network for training, whose variables are not the extractor's, which stay as they are."""
    from tlkit.backbones.build import build_backbone

    return build_backbone(
        extractor.backbone, weights=extractor.weights, input_size=extractor.input_size, seed=extractor.seed
    )


def _views(recipe: Recipe, data: Dataset, stage: Stage | None) -> int:
    """How many versions of each image's map are stored; 0 where there is no frozen part, or no room."""
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


def _feed(
    data: Dataset,
    decoded: Decoded,
    extractor: Extractor,
    stage: Stage | None,
    recipe: Recipe,
    workers: int | None,
    show: Progress,
    stack: contextlib.ExitStack,
) -> Any:
    """Where the inputs come from: images, or outputs of the frozen part, computed here and closed by the stack."""
    from tlkit.finetune.inputs import PixelFeed

    if stage is None or not recipe.views:
        return PixelFeed(decoded)
    from tlkit.finetune.inputs import MapFeed, changer
    from tlkit.finetune.maps import compute_maps

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


def _job(
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
    from tlkit.finetune.loop import Job
    from tlkit.finetune.step import Tuner

    labels = np.asarray(data.folder.labels, dtype=np.int32)
    train = data.of(TRAIN)
    weights = None
    if balanced:
        share = np.bincount(labels[train], minlength=len(data.folder.classes)) / len(train)
        weights = np.asarray(1 / (share * len(share)), dtype=np.float32)
    tuner = Tuner(trainable, recipe, strategy, show.note)
    return Job(tuner, recipe, feed, labels, tuple(train), tuple(data.of(VAL)), weights, seed)
