"""``--backbone auto``: the backbones whose weights are on this machine, compared on a sample of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tlkit.advisor.backbone_choice import Entrant, choose_backbone
from tlkit.advisor.probes import run_probes
from tlkit.api.train.dataset import prepare, read_features, stored_features
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.start import Start, prepare_start, scan_folder
from tlkit.backbones import catalog
from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.backbones.speed import latency
from tlkit.backbones.weights.loading import IMAGENET
from tlkit.errors import TlkitError
from tlkit.images.folder import TRAIN, ImageFolder
from tlkit.linear.flip_check import chosen_for_check
from tlkit.progress import Progress

AUTO = "auto"
COMPARED = 500  # training images at most


def start_and_folder(options: TrainOptions, workers: int | None, show: Progress) -> tuple[Start, ImageFolder]:
    """What a run starts from, with "auto" settled, and the images found; mistakes in options are told first.

    Raises:
        TlkitError: As for `settle_backbone`, `prepare_start` and `scan_folder`.
    """
    if options.backbone != AUTO:
        start = prepare_start(options, show)
        return start, scan_folder(options.images, show)
    options.check()
    folder = scan_folder(options.images, show)
    return prepare_start(settle_backbone(options, folder, workers, show), show), folder


def settle_backbone(options: TrainOptions, folder: ImageFolder, workers: int | None, show: Progress) -> TrainOptions:
    """The options with the backbone that "auto" comes to.

    Raises:
        TlkitError: "auto" was asked for together with what decides a backbone, or none is within the limits.
    """
    if options.weights != IMAGENET or options.from_bundle is not None:
        raise TlkitError("--backbone auto compares networks with ImageNet weights", "name a backbone with --weights")
    rows = [row for row in map(catalog.get, catalog.names()) if catalog.is_here(row)]
    rows = [row for row in rows if options.max_params is None or row.params <= options.max_params]
    rows = [row for row in rows if options.image_size is None or options.image_size >= row.min_size]
    if not rows:
        raise TlkitError(
            "no backbone on this machine is within --max-params and --image-size",
            "tlkit backbones lists them with their parameters",
        )
    paths, labels, groups = _sample(options, folder, workers, show)
    entrants = []
    for row in rows:
        extractor = _open(row, options, show)
        seconds = latency(extractor)
        if options.max_latency is None or seconds <= options.max_latency or len(rows) == 1:
            entrants.append(_enter(row, extractor, seconds, paths, labels, groups, options.seed, workers, show))
    if not entrants:
        raise TlkitError(
            f"no backbone on this machine takes at most {1000 * (options.max_latency or 0):.0f} ms an image",
            "raise --max-latency, or lower --image-size",
        )
    chosen, why = choose_backbone(entrants)
    show.note(why)
    return replace(options, backbone=chosen.name, advice=(why,))


def _sample(
    options: TrainOptions, folder: ImageFolder, workers: int | None, show: Progress
) -> tuple[list[Path], list[int], list[int]]:
    """Some training images of every class, as the default backbone's split has them: paths, labels, groups."""
    extractor = _open(catalog.get(catalog.DEFAULT), options, show)
    data = prepare(
        folder,
        read_features(folder, extractor, workers, show),
        options.val_split,
        options.seed,
        options.drop_leaks,
        test_split=options.test_split,
    )
    train = data.of(TRAIN)
    chosen = [train[i] for i in chosen_for_check([data.folder.labels[i] for i in train], options.seed, COMPARED)]
    return (
        [data.folder.paths[i] for i in chosen],
        [data.folder.labels[i] for i in chosen],
        [data.groups[i] for i in chosen],
    )


def _open(row: Backbone, options: TrainOptions, show: Progress) -> Extractor:
    return open_extractor(row.name, input_size=options.image_size, engine=options.engine, progress=show)


def _enter(
    row: Backbone,
    extractor: Extractor,
    latency: float,
    paths: Sequence[Path],
    labels: list[int],
    groups: list[int],
    seed: int,
    workers: int | None,
    show: Progress,
) -> Entrant:
    found = stored_features(paths, extractor, workers, show)
    probes = run_probes(
        found.matrix,
        found.taps,
        [labels[i] for i in found.rows],
        [groups[i] for i in found.rows],
        seed=seed,
        progress=show,
    )
    if probes is None:
        raise TlkitError("a class has too few images to compare backbones", "name one with --backbone")
    best = max(probes.last, probes.together, key=lambda probe: probe.accuracy)
    return Entrant(row.name, row.params, latency, best.accuracy, best.right)
