"""``tlkit backbones show``: the stages and layers of a network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tlkit.backbones.build import build_backbone, check_request
from tlkit.backbones.catalog.table import is_file_name
from tlkit.backbones.extractor import TOP, tap_widths
from tlkit.backbones.layers import Layer, Pair, layers_of
from tlkit.backbones.network import Network
from tlkit.backbones.operations import count_operations
from tlkit.backbones.own.keras_file import INCLUDED, file_backbone
from tlkit.backbones.stages import Stage
from tlkit.finetune.trainable import default_boundary
from tlkit.libraries import require_keras
from tlkit.linear.taps import early_stages
from tlkit.plan.choices import IMAGENET, RANDOM
from tlkit.progress import Progress, SilentProgress


@dataclass(frozen=True)
class StageFigures:
    """Cost and receptive field of a stage.

    Attributes:
        params: Parameters of its layers.
        operations: Multiply-adds of its layers for one image.
        receptive_field: Pixels (height, width) of the input that one cell of its output depends on; see
            `tlkit.backbones.layers.Layer`.
    """

    params: int
    operations: int
    receptive_field: Pair | None


@dataclass(frozen=True)
class Stages:
    """The stages and layers of a network.

    Attributes:
        name: The network's name in the catalogue.
        input_size: Side of the square input in pixels.
        stages: From input to output.
        early: Names of the stages after which "early-layers" considers cutting.
        last: Name of the stage after which "last-layers" starts to train by default.
        params: Parameters, without a classifier.
        operations: Multiply-adds for one image, without a classifier.
        figures: Cost and receptive field of each stage.
        layers: From input to output.
    """

    name: str
    input_size: int
    stages: tuple[Stage, ...]
    early: tuple[str, ...]
    last: str
    params: int
    operations: int
    figures: tuple[StageFigures, ...]
    layers: tuple[Layer, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        both = zip(self.stages, self.figures, strict=True)
        return {
            "name": self.name,
            "input_size": self.input_size,
            "stages": [{**asdict(stage), **asdict(figures)} for stage, figures in both],
            "early": list(self.early),
            "last": self.last,
            "params": self.params,
            "operations": self.operations,
            "layers": [asdict(layer) for layer in self.layers],
        }


def stages_of(name: str, input_size: int | None = None, progress: Progress | None = None) -> Stages:
    """Build a network, without its weights, and list its stages and layers.

    Args:
        name: Any spelling of a catalogue name, or a ``.keras`` file.
        input_size: Side of the square input in pixels; None for the network's own.
        progress: Progress reporter.

    Raises:
        TlkitError: The name is unknown, the size too small, or the file cannot be a backbone, or Keras is not
            installed.
    """
    own = is_file_name(name)
    weights = IMAGENET if own else RANDOM
    # stages do not depend on preprocessing
    row, size = check_request(file_backbone(name, INCLUDED) if own else name, weights, input_size)
    require_keras("tlkit backbones show")
    with (progress or SilentProgress()).phase(f"Building {row.name}", None):
        return describe(build_backbone(row, weights=weights, input_size=size))


def describe(network: Network) -> Stages:
    """List the stages and layers of a built network."""
    operations = count_operations(network)
    layers = layers_of(network)
    return Stages(
        name=network.backbone.name,
        input_size=int(network.model.input.shape[1]),
        stages=network.stages,
        early=tuple(early_stages(tap_widths(network))),
        last=default_boundary(network.stages, operations),
        params=sum(layer.params for layer in layers),
        operations=operations[TOP],
        figures=tuple(_figures(stage, layers) for stage in network.stages),
        layers=layers,
    )


def _figures(stage: Stage, layers: tuple[Layer, ...]) -> StageFigures:
    own = [layer for layer in layers if layer.stage == stage.name]
    end = next(layer for layer in own if layer.name == stage.layer)
    return StageFigures(sum(layer.params for layer in own), sum(layer.operations for layer in own), end.receptive_field)
