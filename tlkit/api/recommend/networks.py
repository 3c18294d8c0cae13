"""The networks whose frozen features are worth comparing: backbones on this machine at several input sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from tlkit.api.train.start import Start
from tlkit.backbones import catalog
from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.backbones.speed import latency
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.batches import load_images
from tlkit.libraries import no_keras
from tlkit.plan.choices import AUTO, IMAGENET, MAX_COST

LARGER = {catalog.DEFAULT: (288, 352)}  # input sizes worth comparing beyond a network's own (benchmarks/frozen.py)
MAX_LOOKED_AT = 48  # images whose resolution is read
GLANCE = (32, 32)  # pixels that these are decoded to


@dataclass(frozen=True)
class Network:
    """A backbone at an input size.

    Attributes:
        row: Its catalogue row.
        size: Side of the square input in pixels.
        cost: Multiply-adds per image, relative to the default backbone at its own input size.
    """

    row: Backbone
    size: int
    cost: float

    @property
    def key(self) -> tuple[str, int]:
        """Name of the backbone, and the input size."""
        return self.row.name, self.size

    def open(self, start: Start, context: Context) -> Extractor:
        """Open it, ready to compute features."""
        return open_extractor(
            self.row, weights=start.weights, input_size=self.size, engine=start.request.engine, progress=context.show
        )


def cost_of(row: Backbone, size: int) -> float:
    """Multiply-adds of a backbone per image, relative to the default backbone at its own input size.

    It counts as 1 for a user's own backbone, whose operations are unknown.
    """
    if not row.operations:
        return 1.0
    unit = catalog.get(catalog.DEFAULT).operations
    return row.operations / unit * (size / row.input_size) ** 2


def may_choose_network(start: Start) -> bool:
    """Whether backbone or input size are still open."""
    request = start.request
    if start.planned or start.weights != IMAGENET or start.backbone.file:
        return False
    if request.names_tuning:
        return request.backbone == AUTO
    return request.backbone in (None, AUTO) or (request.image_size is None and start.backbone.name in LARGER)


def networks_to_compare(start: Start, paths: Sequence[Path], context: Context) -> list[Network]:
    """List the networks to compare, that of the start first.

    These are the packaged networks, or with ``--backbone auto`` all whose weights are on this machine; larger inputs
    only if the images have that many pixels.

    Args:
        start: What training starts from.
        paths: Training images.
        context: Context of the run.

    Raises:
        TlkitError: None is within ``--max-params`` and ``--max-latency``.
    """
    request, row, side = start.request, start.backbone, start.plan.input_size
    own = Network(row, side, cost_of(row, side))
    if not may_choose_network(start):
        return [own]
    everything = request.backbone == AUTO
    rows = [row]
    if request.backbone in (None, AUTO):
        rows = [row for row in catalog.rows() if (everything or row.packaged) and catalog.is_here(row)]
        rows = [row for row in rows if request.max_params is None or row.params <= request.max_params]
        rows = _possible(rows, context)
    wanted = [(row, size) for row in rows for size in _sizes(row, request.image_size)]
    if any(size > row.input_size for row, size in wanted) and request.image_size is None:
        sharp = resolution(paths, context)
        wanted = [(row, size) for row, size in wanted if size <= max(sharp, row.input_size)]
    found = [Network(row, size, cost_of(row, size)) for row, size in wanted]
    if request.max_latency is not None:
        found = [each for each in found if _milliseconds(each, start, context) <= request.max_latency]
    elif not everything:
        bound = MAX_COST * min(each.cost for each in found) if request.image_size else MAX_COST
        found = [each for each in found if each.cost <= bound or each.row.name == row.name]
    if not found:
        raise TlkitError(
            "no network on this machine is within --max-params, --max-latency and --image-size",
            "tlkit backbones lists them with their parameters; raise one of the limits",
        )
    return sorted(found, key=lambda each: each.key != own.key)


def _possible(rows: list[Backbone], context: Context) -> list[Backbone]:
    """Leave out the networks that only Keras can build, if it is not installed, and say so."""
    lacking = "" if all(row.packaged for row in rows) else no_keras()
    if not lacking:
        return rows
    kept = [row for row in rows if row.packaged]
    context.show.note(f"only the {len(kept)} networks that come with tlkit are compared: {lacking}")
    return kept


def _sizes(row: Backbone, given: int | None) -> tuple[int, ...]:
    if given is not None:
        return (given,) if given >= row.min_size and not (row.fixed and given != row.input_size) else ()
    return row.input_size, *LARGER.get(row.name, ())


def resolution(paths: Sequence[Path], context: Context) -> float:
    """Return the median side of a sample of images, that of a square with as many pixels."""
    some = np.sort(np.random.default_rng([context.seed, 5]).permutation(len(paths))[:MAX_LOOKED_AT])
    loaded = load_images([paths[i] for i in some], GLANCE, workers=context.workers)
    sides = [math.sqrt(item.image.width * item.image.height) for item in loaded if item.image is not None]
    return median(sides) if sides else 0.0


def _milliseconds(network: Network, start: Start, context: Context) -> float:
    """Measure the time per image on one core."""
    extractor = network.open(start, context)
    with context.show.phase(f"Timing {network.row.name}", None):
        return 1000 * latency(extractor)
