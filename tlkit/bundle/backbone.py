"""Use the network of a bundle as a feature extractor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tlkit.backbones import catalog
from tlkit.backbones.extractor import TOP, Extractor, open_extractor
from tlkit.backbones.own.keras_file import INCLUDED, file_backbone
from tlkit.backbones.weights.loading import known_digest
from tlkit.bundle.load import Bundle
from tlkit.bundle.manifest import MODEL
from tlkit.bundle.verify import bundle_plan
from tlkit.plan.choices import AUTO, EARLY, FREEZE, IMAGENET
from tlkit.plan.plan import Plan
from tlkit.progress import Progress


def bundle_extractor(
    bundle: Bundle, *, engine: str = AUTO, progress: Progress | None = None
) -> tuple[Extractor, tuple[str, ...]]:
    """Return a bundle's network without its head, and the names of the taps its head uses.

    If the weights were not trained, the features are those of the backbone itself and share its entries in the feature
    store. Otherwise the network is identified by the hash of its ``model.keras``. If it was cut after an early stage,
    that stage is its top.

    Args:
        bundle: The bundle.
        engine: "auto", "litert" or "keras".
        progress: Progress reporter.

    Raises:
        TlkitError: The plan cannot be read, or the engine is not available.
    """
    plan, size = bundle_plan(bundle.path), bundle.input_size[0]
    own = bundle.manifest.get("own_backbone") is not None
    came_with = bundle.manifest.get("weights_sha256") if plan.strategy == FREEZE and not own else None
    if came_with and plan.weights == IMAGENET and _is_same(plan.backbone, came_with):
        extractor = open_extractor(plan.backbone, input_size=size, engine=engine, progress=progress)
        if extractor.weights_hash == came_with:
            return extractor, plan.taps
    extractor, taps = network_extractor(bundle.path / MODEL, plan, own=own, engine=engine, progress=progress)
    if came_with:
        extractor = replace(extractor, weights_hash=came_with)
    return extractor, taps


def network_extractor(
    network: Path, plan: Plan, *, own: bool, engine: str = AUTO, progress: Progress | None = None
) -> tuple[Extractor, tuple[str, ...]]:
    """Return the network in a bundle's ``model.keras`` without its head, and the names of the taps its head uses.

    Args:
        network: The ``model.keras``.
        plan: The complete plan of the bundle.
        own: Whether the backbone is not in the catalogue, so that the network exists only there.
        engine: "auto", "litert" or "keras".
        progress: Progress reporter.

    Raises:
        TlkitError: The network cannot be read, or the engine is not available.
    """
    size, upto = plan.input_size, plan.boundary if plan.strategy == EARLY else None
    if own:
        # it ends at the head's last tap
        row = file_backbone(str(network), INCLUDED, plan.backbone)
        extractor = open_extractor(row, input_size=size, engine=engine, progress=progress)
    else:
        extractor = open_extractor(
            plan.backbone, weights=str(network), input_size=size, engine=engine, upto=upto, progress=progress
        )
    return extractor, tuple(TOP if tap == upto else tap for tap in plan.taps)


def _is_same(backbone: str, digest: str) -> bool:
    """Return whether the ImageNet weights are on this machine and, by a quick check, have this hash."""
    row = catalog.get(backbone)
    return catalog.is_here(row) if row.packaged else known_digest(row, IMAGENET, 0) == digest
