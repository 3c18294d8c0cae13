"""The contents of ``tlkit.json``, built once everything is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Manifest:
    """Description of a bundle's network. Format, versions, date and file hashes are added on writing.

    Attributes:
        keras: Version of Keras used in training.
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
        refit: Splits that the head was solved on once more, after its metrics were measured; empty: it was not.
        run: Name of the run that wrote the bundle, if weights were trained.
    """

    keras: str
    backbone: str
    own_backbone: Mapping[str, Any] | None
    weights: str
    weights_sha256: str
    strategy: str
    boundary: str | None
    input_size: tuple[int, int]
    reading: int
    classes: Sequence[str]
    metrics: Mapping[str, Any]
    split: Mapping[str, str]
    layers: Mapping[str, str]
    calibration: Mapping[str, Any] | None = None
    unknown: Mapping[str, Any] | None = None
    flips: Mapping[str, Any] | None = None
    refit: Sequence[str] = ()
    run: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dump``."""
        lists = {name: list(getattr(self, name)) for name in ("input_size", "classes", "refit")}
        return {**asdict(self), **lists}
