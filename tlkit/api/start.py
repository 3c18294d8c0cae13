"""What training starts from: options checked, backbone and weights settled, pictures found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tlkit.api.dataset import require_enough
from tlkit.api.options import TrainOptions
from tlkit.backbones import catalog
from tlkit.backbones.build import check_request
from tlkit.backbones.weights import IMAGENET, RANDOM
from tlkit.bundle.save import MODEL
from tlkit.errors import TlkitError
from tlkit.images.folder import ImageFolder, scan
from tlkit.progress import Progress
from tlkit.training.board import require_tensorboard
from tlkit.training.plan import EARLY


@dataclass(frozen=True)
class Start:
    """What training starts from: options with backbone, weights and size settled."""

    options: TrainOptions
    weights_name: str
    known: Mapping[str, str]  # content hash to split, of an earlier training


def prepare_start(options: TrainOptions, show: Progress) -> Start:
    """Check the options, and read those that a bundle to start from decides."""
    options.check()
    if options.tensorboard is not None:
        require_tensorboard()
    if options.from_bundle is None:
        row, _ = check_request(options.backbone, options.weights, options.image_size)
        if options.weights == RANDOM:
            show.note("random weights: what comes out is no transfer learning")
        name = options.weights if options.weights in (IMAGENET, RANDOM) else Path(options.weights).name
        return Start(replace(options, backbone=row.name), name, {})
    if options.weights != IMAGENET or options.backbone != catalog.DEFAULT:
        raise TlkitError("--from takes backbone and weights from the bundle", "leave --backbone and --weights out")
    from tlkit.bundle.load import load

    bundle = load(options.from_bundle)
    manifest = bundle.manifest
    size = options.image_size or int(manifest["input_size"][0])
    row, _ = check_request(manifest["backbone"], IMAGENET, size)
    if manifest.get("strategy") == EARLY:
        show.note(f"{bundle.path.name} holds the first stages alone; the later ones have ImageNet weights")
    changed = replace(options, backbone=row.name, weights=str(bundle.path / MODEL), image_size=size)
    return Start(changed, bundle.path.name, manifest["split"])


def scan_folder(images: str, show: Progress) -> ImageFolder:
    """The pictures of a folder, if there are enough in every class."""
    folder = scan(images)
    require_enough(folder, ())
    if folder.loose:
        show.note(f"{folder.loose} loose pictures outside class folders are not used")
    return folder
