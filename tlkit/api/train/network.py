"""Build a network for training: which weights are trained, on what, and where the inputs come from."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.head import Solved, weighs_classes
from tlkit.backbones.extractor import Extractor
from tlkit.context import Context
from tlkit.finetune import augmentation
from tlkit.images.folder import TRAIN, VAL
from tlkit.plan.choices import LAST_LAYERS, NONE
from tlkit.plan.plan import Plan
from tlkit.plan.recipe import Recipe
from tlkit.progress import Progress
from tlkit.store.bound import cache_limit
from tlkit.store.decoded import Decoded

if TYPE_CHECKING:
    from tlkit.backbones.network import Network
    from tlkit.backbones.stages import Stage
    from tlkit.finetune.job import Job
    from tlkit.finetune.maps import Maps
    from tlkit.finetune.trainable import Trainable

MAPS_SHARE = 0.5  # of the cache limit that the outputs of a frozen part may take


@dataclass(frozen=True)
class Material:
    """The data and settings that a network is trained with.

    Attributes:
        dataset: Images, split and features.
        decoded: Pixels of all its images.
        extractor: The backbone.
        plan: The strategy, boundary and seed.
        context: Context of the run.
    """

    dataset: Dataset
    decoded: Decoded
    extractor: Extractor
    plan: Plan
    context: Context


@dataclass(frozen=True)
class Built:
    """A network that is ready to be trained.

    Attributes:
        network: The backbone, with variables of its own.
        trainable: The network with its head, and which variables are trained.
        job: What is trained on what; its recipe holds the number of stored versions of each image.
        strategy: The TensorFlow distribution strategy.
    """

    network: Network
    trainable: Trainable
    job: Job
    strategy: Any


def build(material: Material, solved: Solved, recipe: Recipe, stack: contextlib.ExitStack) -> Built:
    """Build the network and its inputs, which the stack closes."""
    from tlkit.finetune.hardware import computing_in, device_strategy
    from tlkit.finetune.trainable import make_trainable

    plan, show = material.plan, material.context.show
    strategy = device_strategy()
    with show.phase("Building the network", None), strategy.scope(), computing_in(recipe.precision):
        network = training_network(material.extractor)
        boundary = solved.choice.boundary if plan.strategy == LAST_LAYERS else None
        stage = next((each for each in network.stages if each.name == boundary), None)
        recipe = replace(recipe, views=_views(recipe, material.dataset, stage))
        trainable = make_trainable(
            network,
            solved.head,
            solved.choice.taps,
            boundary=boundary,
            split=recipe.views > 0,
            layer_decay=recipe.layer_decay,
            batch_norm=recipe.batch_norm,
        )
    inputs = _inputs(material, stage, recipe, stack)
    with show.phase("Preparing the optimizer", None):
        job = _job(material, trainable, recipe, inputs, strategy)
    return Built(network, trainable, job, strategy)


def last_layers_from(extractor: Extractor, show: Progress) -> str:
    """The stage after which "last-layers" starts to train by default."""
    from tlkit.backbones.operations import count_operations
    from tlkit.finetune.trainable import default_boundary

    with show.phase(f"Building {extractor.backbone.name}", None):
        network = extractor.network
    return default_boundary(network.stages, count_operations(network))


def training_network(extractor: Extractor) -> Network:
    """Build a network for training, with variables of its own, so that the extractor's stay as they are."""
    from tlkit.backbones.build import build_backbone

    return build_backbone(
        extractor.backbone, weights=extractor.weights, input_size=extractor.input_size, seed=extractor.seed
    )


def _views(recipe: Recipe, dataset: Dataset, stage: Stage | None) -> int:
    """How many versions of each image's map to store; 0 if there is no frozen part, or no space."""
    if stage is None:
        return 0
    if recipe.views:
        return recipe.views
    count = dataset.count(TRAIN)
    epochs = recipe.steps * recipe.batch_size / count
    wanted = 1 if recipe.augment == NONE else min(8, max(2, round(epochs / 3)))
    size = 2 * stage.height * stage.width * stage.channels
    room = int(MAPS_SHARE * cache_limit()) - size * dataset.count(VAL)
    return max(0, min(wanted, room // (size * count)))


def _inputs(material: Material, stage: Stage | None, recipe: Recipe, stack: contextlib.ExitStack) -> Any:
    """Make the inputs: images, or outputs of the frozen part, computed here and closed by the stack."""
    from tlkit.finetune.inputs import PixelInputs

    if stage is None or not recipe.views:
        return PixelInputs(material.decoded)
    from tlkit.finetune.inputs import MapInputs, make_augmenter
    from tlkit.finetune.maps import compute_maps

    kind = json.dumps([recipe.augment, recipe.flip, str(augmentation.AMOUNTS.get(recipe.augment))])

    def maps(split: str, versions: int) -> Maps:
        found = compute_maps(
            material.decoded,
            material.dataset.of(split),
            material.extractor,
            stage,
            versions=versions,
            kind=kind,
            augment=make_augmenter(recipe),
            workers=material.context.workers,
            progress=material.context.show,
        )
        stack.callback(found.close)
        return found

    return MapInputs(maps(TRAIN, recipe.views), maps(VAL, 1), recipe.views)


def _job(material: Material, trainable: Trainable, recipe: Recipe, inputs: Any, strategy: Any) -> Job:
    """Define what is trained on what, with a new optimizer."""
    from tlkit.finetune.job import Job
    from tlkit.finetune.step import Trainer

    dataset = material.dataset
    labels = np.asarray(dataset.folder.labels, dtype=np.int32)
    train = dataset.of(TRAIN)
    weights = None
    if weighs_classes(material.plan, dataset):
        share = np.bincount(labels[train], minlength=len(dataset.classes)) / len(train)
        weights = np.asarray(1 / (share * len(share)), dtype=np.float32)
    trainer = Trainer(trainable, recipe, strategy, material.context.show.note)
    return Job(trainer, recipe, inputs, labels, tuple(train), tuple(dataset.of(VAL)), weights, material.plan.seed)
