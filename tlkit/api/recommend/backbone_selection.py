"""``--backbone auto``: compare the backbones whose weights are on this machine, on a sample of the images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tlkit.advisor.backbone_choice import Candidate, choose_backbone
from tlkit.advisor.probes import run_probes
from tlkit.api.train.dataset import prepare, read_features, stored_features
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.stages import BACKBONES, IMAGES
from tlkit.api.train.start import Start, prepare_start, scan_folder
from tlkit.backbones import catalog
from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.backbones.speed import latency
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.folder import TRAIN, ImageFolder
from tlkit.linear.flip_check import balanced_sample
from tlkit.plan.choices import AUTO, IMAGENET
from tlkit.plan.plan import Plan

MAX_COMPARED = 500  # training images


def start_and_folder(request: TrainOptions, context: Context, plan: Plan | None = None) -> tuple[Start, ImageFolder]:
    """Resolve "auto" and scan the images; mistakes in options are reported first.

    Args:
        request: The options of the run.
        context: Context of the run.
        plan: The plan to follow, if there is one.

    Raises:
        TlkitError: As for `select_backbone`, `prepare_start` and `scan_folder`.
    """
    context.begin(BACKBONES if request.backbone == AUTO else IMAGES)
    if request.backbone != AUTO:
        start = prepare_start(request, context, plan)
        return start, scan_folder(request.images, context)
    folder = scan_folder(request.images, context)
    name, why = select_backbone(request, folder, context)
    start = prepare_start(replace(request, backbone=name), context, plan)
    return replace(start, plan=start.plan.because(why)), folder


def select_backbone(request: TrainOptions, folder: ImageFolder, context: Context) -> tuple[str, str]:
    """Choose the backbone for "auto", and say why.

    Raises:
        TlkitError: Other options decide the backbone too, or none is within the limits.
    """
    if request.weights != IMAGENET or request.from_bundle is not None:
        raise TlkitError(
            "--backbone auto requires ImageNet weights", "leave out --weights and --from, or name a backbone"
        )
    rows = [row for row in map(catalog.get, catalog.names()) if catalog.is_here(row)]
    rows = [row for row in rows if request.max_params is None or row.params <= request.max_params]
    rows = [row for row in rows if request.image_size is None or request.image_size >= row.min_size]
    if not rows:
        raise TlkitError(
            "no backbone on this machine is within --max-params and --image-size",
            "tlkit backbones lists them with their parameters",
        )
    sample = _sample(request, folder, context)
    candidates = []
    for row in rows:
        extractor = _open(row, request, context)
        with context.show.phase(f"Timing {row.name}", None):
            seconds = latency(extractor)
        if request.max_latency is None or 1000 * seconds <= request.max_latency or len(rows) == 1:
            candidates.append(_candidate(row, extractor, seconds, sample, context))
    if not candidates:
        raise TlkitError(
            f"no backbone on this machine takes at most {request.max_latency or 0:g} ms per image",
            "raise --max-latency, or lower --image-size",
        )
    chosen, why = choose_backbone(candidates)
    context.show.note(why)
    return chosen.name, why


@dataclass(frozen=True)
class _Sample:
    """A sample of training images to compare networks on."""

    paths: list[Path]
    labels: list[int]
    groups: list[int]


def _sample(request: TrainOptions, folder: ImageFolder, context: Context) -> _Sample:
    """Draw training images of every class, from the split that the default backbone gives."""
    extractor = _open(catalog.get(catalog.DEFAULT), request, context)
    dataset = prepare(
        folder,
        read_features(folder, extractor, context),
        request.val_split,
        request.seed,
        request.drop_leaks,
        test_split=request.test_split,
    )
    paths, labels, groups = dataset.paths(TRAIN), dataset.labels(TRAIN), dataset.groups(TRAIN)
    chosen = balanced_sample(labels, request.seed, MAX_COMPARED)
    return _Sample([paths[i] for i in chosen], [labels[i] for i in chosen], [groups[i] for i in chosen])


def _open(row: Backbone, request: TrainOptions, context: Context) -> Extractor:
    return open_extractor(row.name, input_size=request.image_size, engine=request.engine, progress=context.show)


def _candidate(row: Backbone, extractor: Extractor, latency: float, sample: _Sample, context: Context) -> Candidate:
    found = stored_features(sample.paths, extractor, context)
    probes = run_probes(
        found.matrix,
        found.taps,
        [sample.labels[i] for i in found.rows],
        [sample.groups[i] for i in found.rows],
        seed=context.seed,
        progress=context.show,
    )
    if probes is None:
        raise TlkitError("a class has too few images to compare backbones", "name one with --backbone")
    best = max(probes.last, probes.together, key=lambda probe: probe.accuracy)
    return Candidate(row.name, row.params, latency, best.accuracy, best.right)
