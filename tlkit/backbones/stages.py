"""Find the stages of a network. Their ends are taps for features and boundaries for unfreezing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tlkit.backbones.runtime import import_keras

# For each family: a pattern that finds the unit (block or group of blocks) in a layer's name, and whether each unit is
# a stage; if not, a stage is all units of one resolution. A layer without a unit in its name belongs to the unit before
# it. A match of the second group of a pattern counts one unit further: ConvNeXt's downsampling_conv_0 starts its stage
# 1 (the normalisation before it ends stage 0; that stage's last addition is not a layer and has no name).
_UNITS: dict[str, tuple[str, bool]] = {
    "convnext": (r"_stage_(\d+)_|_downsampling_conv_(\d+)", True),
    "densenet": (r"^conv(\d+)_", True),
    "efficientnet": (r"^block(\d+)", True),
    "efficientnet-lite": (r"^block(\d+)_", True),
    "efficientnet-v2": (r"^block(\d+)", True),
    "mobilenet": (r"^conv_[a-z]+_(\d+)", False),
    "mobilenet-v2": (r"^block_(\d+)_|^expanded_conv_", False),
    "mobilenet-v3": (r"^expanded_conv_(?:(\d+)_)?", False),
    "resnet": (r"^conv(\d+)_", True),
    "vgg": (r"^block(\d+)_", True),
    "xception": (r"^block(\d+)_", False),
}


@dataclass(frozen=True)
class Stage:
    """One stage of a network.

    Attributes:
        index: Position, starting with 1 at the input.
        name: ``stage<index>``.
        layer: Name of the last layer of the stage. All paths from the network's input to its output pass its output, so
            freezing everything up to it freezes whole stages and nothing else.
        height: Height of the stage's output, in cells.
        width: Width of the stage's output, in cells.
        channels: Number of channels of the stage's output.
    """

    index: int
    name: str
    layer: str
    height: int
    width: int
    channels: int


def find_stages(model: Any, family: str = "") -> tuple[Stage, ...]:
    """Split an image network into stages at cut points of its layer graph.

    A stage ends at the last cut point of each named group of blocks if the family has them, else at the last cut point
    at each resolution (octave of the input's size). Layers before the first weights are not a stage. NASNet has only
    two stages: each of its cells takes the outputs of the two cells before it, so no tensor between its stem and its
    end is passed by all paths.

    Args:
        model: Functional ``keras.Model`` with one image input [batch, height, width, 3] of fixed size; a pooled head
            after the last feature map is ignored.
        family: ``family`` of a catalogue row. Unknown families are split by resolution. If that gives only one stage
            and the family is empty, as for the user's own network, every layer with weights ends a stage.

    Returns:
        The stages from input to output; the last one ends at the last feature map that is a cut point.
    """
    operations = list(model.operations)
    pattern, unit_is_stage = _UNITS.get(family, ("", False))
    units = _units([operation.name for operation in operations], pattern)
    if unit_is_stage:
        # The stem alone is not a stage: it joins the first unit.
        first = next((unit for unit in units if unit), 0)
        units = [unit or first for unit in units]
    weighted = [_has_weights(operation) for operation in operations]
    cuts = [position for position in cut_positions(operations) if _is_feature_map(operations[position])]
    # The first cut points belong to the preprocessing.
    cuts = [cut for cut in cuts if any(weighted[: cut + 1])]
    ends = _last_of_each(cuts, lambda cut: units[cut] or -cut)
    if not unit_is_stage:
        side = model.inputs[0].shape[1]
        octaves = _last_of_each(ends, lambda cut: _octave(operations[cut], side))
        ends = octaves if len(octaves) > 1 or family else _last_of_each(ends, lambda cut: sum(weighted[: cut + 1]))
    return tuple(_stage(index, operations[end]) for index, end in enumerate(ends, start=1))


def _last_of_each(cuts: list[int], key: Callable[[int], int]) -> list[int]:
    """Return the last of each run of cut points with the same key."""
    return [cut for cut, after in zip(cuts, [*cuts[1:], None], strict=True) if after is None or key(cut) != key(after)]


def cut_positions(operations: Iterable[Any]) -> list[int]:
    """Find the operations that all paths from input to output pass.

    In any topological order, these are the operations that no edge spans: a path that avoids one has an edge from
    before it to after it.

    Args:
        operations: A functional model's operations in topological order, as in ``model.operations``.

    Returns:
        Positions of the operations, in order.
    """
    position: dict[int, int] = {}
    last_use: list[int] = []
    for index, operation in enumerate(operations):
        position[id(operation)] = index
        last_use.append(index)
        for source in sources_of(operation):
            last_use[position[id(source)]] = index
    cuts = []
    reach = 0
    for index, last in enumerate(last_use):
        if reach <= index:
            cuts.append(index)
        reach = max(reach, last)
    return cuts


def sources_of(operation: Any) -> list[Any]:
    """Return the operations that an operation takes its inputs from."""
    keras = import_keras()
    if isinstance(operation, keras.layers.InputLayer):
        return []
    # The only place that needs Keras's record of a tensor's origin, which has no public name.
    return [tensor._keras_history.operation for tensor in keras.tree.flatten(operation.input)]


def _units(names: list[str], pattern: str) -> list[int]:
    """Return the number of the unit of each layer, from 1 and never decreasing; 0 before the first unit."""
    unit = 0
    units = []
    for name in names:
        match = re.search(pattern, name) if pattern else None
        if match:
            which = match.lastindex
            unit = max(unit, int(match[which]) + which if which else 1)
        units.append(unit)
    return units


def _octave(operation: Any, side: int) -> int:
    """Return how often the input was halved; with valid padding, 149 and 147 are both one octave below 299."""
    return round(math.log2(side / max(1, operation.output.shape[1])))


def _has_weights(operation: Any) -> bool:
    # Keras's Normalization holds the statistics of the input: preprocessing, which is not trained.
    return bool(getattr(operation, "weights", ())) and type(operation).__name__ != "Normalization"


def _is_feature_map(operation: Any) -> bool:
    keras = import_keras()
    if not isinstance(operation, keras.layers.Layer) or isinstance(operation, keras.layers.InputLayer):
        return False
    shape = getattr(operation.output, "shape", ())
    return len(shape) == 4 and None not in shape[1:] and not isinstance(operation, keras.layers.ZeroPadding2D)


def _stage(index: int, layer: Any) -> Stage:
    _, height, width, channels = layer.output.shape
    return Stage(index, f"stage{index}", layer.name, int(height), int(width), int(channels))
