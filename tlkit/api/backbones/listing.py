"""``tlkit backbones``: the catalogue sorted and filtered. It is plain data, so this answers at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tlkit.backbones import catalog
from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.catalog.unsupported_networks import HOW_TO_USE, UNSUPPORTED_NETWORKS, UnsupportedNetwork
from tlkit.errors import TlkitError
from tlkit.plan.option import unknown_choice

FLOAT32 = 4  # bytes
PACKAGED, HERE, DOWNLOAD = "packaged", "on this machine", "download"


@dataclass(frozen=True)
class Entry:
    """One network of the catalogue.

    Attributes:
        name: In the catalogue.
        family: Networks of one family have the same layer names and preprocessing.
        params: Parameters without the classifier.
        params_top: Parameters with it.
        operations: Multiply-adds for one image of ``input_size``, without the classifier.
        operations_top: The same with it.
        operations_published: Published multiply-adds with the classifier; None if there are none.
        operations_source: Who published them; empty if nobody.
        input_size: Side of the square input in pixels.
        top1: Published ImageNet top-1 accuracy in percent; None if there is none.
        top5: Published top-5 accuracy likewise.
        source: Where the accuracies were published.
        top1_per_mparams: Top-1 accuracy in percent per million parameters, with the classifier.
        top1_per_goperations: The same per billion multiply-adds (Canziani, Paszke & Culurciello 2016).
        dominated_by: The most accurate network that is at least as accurate, with no more parameters and no more
            operations, all with their classifiers; None if there is none.
        weights: "packaged", "on this machine", "download" or how to install them.
        file: Where the downloaded weights are or would be; empty if packaged.
        bytes: Size of the weights on this machine; for a download an estimate from the parameters; None if packaged.
        ms: Milliseconds for one image on this machine; None if not measured.
        engine: "litert" or "keras", which ms was measured with; empty if not measured.
    """

    name: str
    family: str
    params: int
    params_top: int
    operations: int
    operations_top: int
    operations_published: float | None
    operations_source: str
    input_size: int
    top1: float | None
    top5: float | None
    source: str
    top1_per_mparams: float | None
    top1_per_goperations: float | None
    dominated_by: str | None
    weights: str
    file: str
    bytes: int | None
    ms: float | None = None
    engine: str = ""


SORTS: dict[str, Callable[[Entry], Any]] = {
    "catalogue": lambda _: 0,
    "name": lambda entry: entry.name,
    "params": lambda entry: entry.params,
    "operations": lambda entry: entry.operations,
    "input": lambda entry: entry.input_size,
    "top1": lambda entry: -(entry.top1 or 0),
    "per-params": lambda entry: -(entry.top1_per_mparams or 0),
    "per-operations": lambda entry: -(entry.top1_per_goperations or 0),
    "speed": lambda entry: entry.ms or float("inf"),
}
"""The values of ``--sort``, with their sort keys."""


@dataclass(frozen=True)
class Catalogue:
    """The entries that were requested, in order, and the networks that the catalogue lacks."""

    entries: tuple[Entry, ...]
    others: tuple[UnsupportedNetwork, ...] = UNSUPPORTED_NETWORKS
    how: str = HOW_TO_USE

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        others = [asdict(network) for network in self.others]
        return {"backbones": [asdict(entry) for entry in self.entries], "others": others, "others_how": self.how}


def list_backbones(
    *,
    sort: str = "catalogue",
    match: str = "",
    max_params: float | None = None,
    max_operations: float | None = None,
    offline: bool = False,
    speeds: Mapping[str, tuple[float, str]] | None = None,
) -> Catalogue:
    """List the networks that training can start from.

    Args:
        sort: One of `SORTS`.
        match: Letters and digits that a name must contain.
        max_params: Maximum number of parameters, without the classifier.
        max_operations: Maximum number of multiply-adds, without the classifier.
        offline: List only networks whose weights are on this machine.
        speeds: (milliseconds, engine) of networks that were measured.

    Raises:
        TlkitError: There is no such sort key, or no network matches.
    """
    if sort not in SORTS:
        raise unknown_choice("--sort", sort, tuple(SORTS))
    rows = [
        row
        for row in catalog.rows()
        if catalog.letters(match) in catalog.letters(row.name)
        and (max_params is None or row.params <= max_params)
        and (max_operations is None or row.operations <= max_operations)
        and (not offline or catalog.is_here(row))
    ]
    if not rows:
        raise TlkitError("no backbone matches these filters", "tlkit backbones lists all")
    measured = speeds or {}
    entries = [_entry(row, measured.get(row.name)) for row in rows]
    return Catalogue(tuple(sorted(entries, key=SORTS[sort])))


def dominated_by(row: Backbone, rows: Sequence[Backbone]) -> Backbone | None:
    """Find the most accurate network that is at least as good as ``row`` in all of `_goodness`, and better in one."""
    good = _goodness(row)
    better = [
        other
        for other in rows
        if other.top1 is not None
        and _goodness(other) != good
        and all(theirs >= ours for theirs, ours in zip(_goodness(other), good, strict=True))
    ]
    return max(better, key=lambda other: (other.top1, -other.operations_top), default=None)


def _goodness(row: Backbone) -> tuple[float, int, int]:
    return (row.top1 or 0.0, -row.params_top, -row.operations_top)


def _entry(row: Backbone, speed: tuple[float, str] | None) -> Entry:
    here, published = catalog.is_here(row), row.published_operations
    better = dominated_by(row, catalog.rows())
    size: int | None = None
    if row.packaged:
        weights = PACKAGED if here else row.package_hint
    else:
        weights = HERE if here else DOWNLOAD
        size = catalog.cached_path(row).stat().st_size if here else FLOAT32 * row.params
    return Entry(
        name=row.name,
        family=row.family,
        params=row.params,
        params_top=row.params_top,
        operations=row.operations,
        operations_top=row.operations_top,
        operations_published=published[0] if published else None,
        operations_source=published[1] if published else "",
        input_size=row.input_size,
        top1=row.top1,
        top5=row.top5,
        source=row.source,
        top1_per_mparams=None if row.top1 is None else round(row.top1 / (row.params_top / 1e6), 4),
        top1_per_goperations=None if row.top1 is None else round(row.top1 / (row.operations_top / 1e9), 4),
        dominated_by=better.name if better else None,
        weights=weights,
        file="" if row.packaged else str(catalog.cached_path(row)),
        bytes=size,
        ms=round(speed[0], 2) if speed else None,
        engine=speed[1] if speed else "",
    )
