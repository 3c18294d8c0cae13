"""The contents of ``tlkit.json``: what a bundle says of itself, how it is written and how it is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from tlkit.plan.choices import MAX_UNKNOWN_RATE, STRATEGIES
from tlkit.schema import (
    Count,
    Digest,
    Length,
    Name,
    OneOf,
    Share,
    Side,
    Within,
    WrongDataError,
    annotations_of,
    listed,
    parsed,
    required,
)

MODEL, LITE = "model.keras", "model.tflite"
LABELS, PLAN, HISTORY = "labels.txt", "plan.json", "history.csv"
OOD, HELD_OUT, REPORT = "known.npz", "heldout.npz", "report.html"
KEPT = "features.npz"

_MIB = 1 << 20
MAX_MANIFEST = 128 * _MIB
"""Bytes of ``tlkit.json``, which lists every image used: enough for a million and a half."""

FILES = {
    MODEL: 4096 * _MIB,
    LITE: 2048 * _MIB,  # the limit of the format
    LABELS: 64 * _MIB,
    PLAN: 4 * _MIB,
    HISTORY: 16 * _MIB,
    OOD: 512 * _MIB,
    HELD_OUT: 64 * _MIB,
    REPORT: 256 * _MIB,
    KEPT: 8192 * _MIB,  # some 3 kB an image
}
"""The files that a bundle can have, and how many bytes each may have. A manifest cannot name any other."""

MAX_CLASSES = 100_000
_Text = Annotated[str, Length(0, 4096)]
_Rate = Annotated[float, Within(0, MAX_UNKNOWN_RATE)]


@dataclass(frozen=True)
class OwnBackbone:
    """Origin of a bundle's network that is not in the catalogue.

    Attributes:
        backbone_file: Name of its file.
        backbone_sha256: SHA-256 of that file in hex.
        preprocessing: What is done to pixels 0..255 before its first layer.
    """

    backbone_file: Name | None
    backbone_sha256: _Text | None
    preprocessing: _Text | None


@dataclass(frozen=True)
class Manifest:
    """Description of a bundle's network. Format, versions, date and file hashes are added on writing.

    The annotations say what `checked_manifest` accepts; `Any` is plain data of any kind, which nothing here relies on.

    Attributes:
        keras: Version of Keras used in training; where it was not installed, the oldest that can open the bundle.
        backbone: Name of the backbone.
        own_backbone: Origin of the user's own backbone; None for one from the catalogue.
        weights: "imagenet", "none", or the name of the file or bundle the initial weights came from.
        weights_sha256: SHA-256 of that file in hex.
        strategy: Training strategy.
        boundary: The last stage kept (early-layers) or the last frozen stage (last-layers).
        input_size: (height, width) in pixels.
        reading: `tlkit.images.read.READING_VERSION`.
        classes: Class names, in the order of the probability columns.
        metrics: Metrics on the held-out images, as in the JSON contract.
        split: Split of every image used, by content hash.
        layers: The layer of ``model.keras`` behind each tap used for OOD detection.
        calibration: Result of temperature scaling.
        unknown: Settings of OOD detection; None without it.
        flips: Result of the flip check; None if it was not made.
        groups: Accuracy if images are mixed at random and if whole groups are held out; None: not measured, or images
            come in no groups.
        refit: Splits that the head was solved on once more, after its metrics were measured; empty: it was not.
        held_out: Which images the predictions in ``heldout.npz`` are of; None: there are none.
        run: Name of the run that wrote the bundle, if weights were trained.
    """

    keras: _Text
    backbone: _Text
    own_backbone: Mapping[str, Any] | None
    weights: _Text
    weights_sha256: _Text
    strategy: Annotated[str, OneOf(STRATEGIES)]
    boundary: Name | None
    input_size: tuple[Side, Side]
    reading: Count
    classes: Annotated[Sequence[Name], Length(1, MAX_CLASSES)]
    metrics: Mapping[str, Any]
    split: Mapping[Name, Name]
    layers: Annotated[Mapping[Name, Name], Length(0, 1000)]
    calibration: Mapping[str, Any] | None = None
    unknown: Mapping[str, Any] | None = None
    flips: Mapping[str, Any] | None = None
    groups: Mapping[str, Any] | None = None
    refit: Annotated[Sequence[Name], Length(0, 10)] = ()
    held_out: Mapping[str, Any] | None = None
    run: Name | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dump``."""
        lists = {name: list(getattr(self, name)) for name in ("input_size", "classes", "refit")}
        return {**asdict(self), **lists}


def checked_manifest(data: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of a ``tlkit.json`` if everything that tlkit relies on is there and within bounds.

    Fields that this version does not know are left alone: a later version may have added them.

    Raises:
        WrongDataError: A field is missing, has another type, or is out of bounds.
    """
    hints = annotations_of(Manifest) | {"files": Annotated[Mapping[str, Digest], Length(1, 100)]}
    if missing := (required(Manifest) | {"files"}) - set(data):
        raise WrongDataError(f"these fields are missing: {listed(missing)}")
    found = {name: parsed(hint, data[name], name) for name, hint in hints.items() if name in data}
    for name in found["files"]:
        if name not in FILES:
            raise WrongDataError(f"files lists '{name[:60]}', which no bundle has")
    for name in (MODEL, LABELS, PLAN):
        if name not in found["files"]:
            raise WrongDataError(f"files does not list {name}")
    if len(set(found["classes"])) != len(found["classes"]):
        raise WrongDataError("classes has a name twice")
    if found["own_backbone"] is not None:
        parsed(OwnBackbone, found["own_backbone"], "own_backbone")
    if found.get("unknown"):
        parsed(_Rate, found["unknown"].get("rate"), "unknown.rate")
    if flips := found.get("flips"):
        parsed(bool, flips.get("harmless"), "flips.harmless")
        parsed(Count, flips.get("images", flips.get("pictures")), "flips.images")  # "pictures": tlkit 0.1
        for name in ("plain", "mirrored"):
            parsed(Share, flips.get(name), f"flips.{name}")
    return data
