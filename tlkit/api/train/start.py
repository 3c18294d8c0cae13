"""What training starts from: options checked, backbone and weights settled, images found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlkit.api.train.dataset import require_enough
from tlkit.api.train.options import TrainOptions
from tlkit.backbones import catalog
from tlkit.backbones.build import check_request
from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.own.keras_file import INCLUDED, PREPROCESSING, file_backbone
from tlkit.backbones.weights.loading import IMAGENET, RANDOM
from tlkit.bundle.save import MODEL
from tlkit.errors import TlkitError
from tlkit.finetune.tensorboard import require_tensorboard
from tlkit.images.folder import ImageFolder, scan
from tlkit.plan.plan import EARLY
from tlkit.progress import Progress


@dataclass(frozen=True)
class Start:
    """What training starts from: options with backbone, weights and size settled.

    Attributes:
        options: What was asked for, settled.
        backbone: The row of the backbone.
        weights_name: What the plan calls the weights.
        known: Content hash to split, of an earlier training.
        origin: ``backbone_file``, ``backbone_sha256`` and ``preprocessing`` of the plan: where a backbone of the user's
            own came from; empty for a catalogued one.
    """

    options: TrainOptions
    backbone: Backbone
    weights_name: str
    known: Mapping[str, str]
    origin: Mapping[str, Any]


def prepare_start(options: TrainOptions, show: Progress) -> Start:
    """Check the options, and read those that a bundle to start from decides.

    What it returns can be prepared again, which a resumed run does.
    """
    options.check()
    if options.tensorboard is not None:
        require_tensorboard()
    if options.from_bundle is not None:
        return _from_bundle(options, options.from_bundle, show)
    row, size = check_request(options.backbone, options.weights, options.image_size, options.preprocessing)
    if not row.file:
        if options.weights == RANDOM:
            show.note("random weights: what comes out is no transfer learning")
        name = options.weights if options.weights in (IMAGENET, RANDOM) else Path(options.weights).name
        return Start(replace(options, backbone=row.name), row, name, {}, {})
    if options.backbone_sha256 not in (None, row.digest):
        raise TlkitError(
            f"'{row.file}' is not the backbone that this began with: its content is another",
            "put the file back that the plan or the run was made with, or begin anew",
        )
    kind = row.preprocessing
    show.note(f"{row.name}: input {size}x{size}, preprocessing {kind} ({PREPROCESSING[kind]})")
    settled = replace(options, backbone=row.file, backbone_sha256=row.digest, preprocessing=row.preprocessing)
    origin = {"backbone_file": row.file, "backbone_sha256": row.digest, "preprocessing": row.preprocessing}
    return Start(settled, row, Path(row.file).name, {}, origin)


def _from_bundle(options: TrainOptions, folder: str, show: Progress) -> Start:
    from tlkit.bundle.load import load

    network = str(Path(folder) / MODEL)
    settled = options.weights == network or options.backbone == network
    if not settled and (options.weights != IMAGENET or options.backbone != catalog.DEFAULT):
        raise TlkitError("--from takes backbone and weights from the bundle", "leave --backbone and --weights out")
    bundle = load(folder)
    manifest = bundle.manifest
    size = options.image_size or int(manifest["input_size"][0])
    changed = replace(options, image_size=size)
    own: dict[str, Any] | None = manifest.get("own_backbone")
    early = manifest.get("strategy") == EARLY
    if own is None:
        row, _ = check_request(manifest["backbone"], IMAGENET, size)
        if early:
            show.note(f"{bundle.path.name} holds the first stages alone; the later ones have ImageNet weights")
        return Start(replace(changed, backbone=row.name, weights=network), row, bundle.path.name, manifest["split"], {})
    # the bundle is all there is of the network: its file may be anywhere by now
    row, _ = check_request(file_backbone(network, INCLUDED, manifest["backbone"]), IMAGENET, size)
    if early:
        show.note(f"{bundle.path.name} holds the first stages alone, and they are the whole backbone from here on")
    changed = replace(changed, backbone=network, weights=IMAGENET, preprocessing=INCLUDED)
    return Start(changed, row, bundle.path.name, manifest["split"], own)


def in_bundle(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Where an own backbone came from, as a bundle says it: a file's name, as its folder is nobody else's business."""
    return {**origin, "backbone_file": Path(origin["backbone_file"]).name} if origin else {}


def scan_folder(images: str, show: Progress) -> ImageFolder:
    """The images of a folder, if there are enough in every class."""
    folder = scan(images)
    require_enough(folder, ())
    if folder.loose:
        show.note(f"{folder.loose} loose images outside class folders are not used")
    return folder
