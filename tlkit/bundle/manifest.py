"""What ``tlkit.json`` says of a network, built once when all of it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of its network; format, versions, date and file hashes are added when it is written.

    Attributes:
        keras: Version of Keras it was trained with.
        backbone: Name of the backbone.
        own_backbone: Where a backbone of the user's own came from; None for a catalogued one.
        weights: "imagenet", "none", or the name of the file or bundle they came from.
        weights_sha256: SHA-256 of that file in hex.
        strategy: How it was trained.
        boundary: With early-layers the last stage kept, with last-layers the last one left frozen.
        input_size: (height, width) in pixels.
        reading: `tlkit.images.read.READING_VERSION`.
        classes: Class names; column i of the probabilities belongs to name i.
        metrics: Figures on the held-out images, as in the JSON contract.
        split: Content hash to split of every image used.
        layers: Of each block that tells of unlike images, the layer of ``model.keras`` it is averaged from.
        calibration: How confidence was scaled.
        unknown: How unlike images are told; None where they are not.
        flips: What mirroring does; None where nobody looked.
        run: Name of the run that wrote it, where weights were trained.
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
    run: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dump``."""
        return {**asdict(self), "input_size": list(self.input_size), "classes": list(self.classes)}
