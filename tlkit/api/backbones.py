"""What ``tlkit backbones show`` says of a network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tlkit.backbones.build import build_backbone, check_request
from tlkit.backbones.catalog import is_file_name
from tlkit.backbones.extractor import tap_widths
from tlkit.backbones.keras_file import INCLUDED, file_backbone
from tlkit.backbones.stages import Stage
from tlkit.backbones.weights import IMAGENET, RANDOM
from tlkit.progress import Progress, SilentProgress
from tlkit.training.boundary import early_stages


@dataclass(frozen=True)
class Stages:
    """The stages of a network.

    Attributes:
        name: The network's name in the catalogue.
        input_size: Side of the square input in pixels.
        stages: From input to output.
        early: Names of those after which "early-layers" considers cutting by itself.
    """

    name: str
    input_size: int
    stages: tuple[Stage, ...]
    early: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields of the command line's JSON."""
        return {**asdict(self), "stages": [asdict(stage) for stage in self.stages], "early": list(self.early)}


def stages_of(name: str, input_size: int | None = None, progress: Progress | None = None) -> Stages:
    """Build a network, without its weights, and name its stages.

    Args:
        name: Any spelling of a catalogue name, or a ``.keras`` file.
        input_size: Side of the square input in pixels; None for the network's own.
        progress: Told what takes long.

    Raises:
        TlkitError: The name is unknown, the size too small, or the file cannot be a backbone.
    """
    own = is_file_name(name)
    weights = IMAGENET if own else RANDOM
    # stages do not depend on what is done to the pixels
    row, size = check_request(file_backbone(name, INCLUDED) if own else name, weights, input_size)
    with (progress or SilentProgress()).phase(f"Building {row.name}", None):
        network = build_backbone(row, weights=weights, input_size=size)
    return Stages(row.name, size, network.stages, tuple(early_stages(tap_widths(network))))
