"""Where a network's stages end: taps for features and boundaries for unfreezing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tlkit.backbones.runtime import import_keras

# For each family: how a layer's name gives the unit (block or group of blocks) it belongs to, and whether
# each unit is a stage; if not, a stage is all units of one resolution. A name without a unit belongs to the unit
# before it. The second alternative of a pattern counts one further: ConvNeXt's downsampling_conv_0 opens its
# stage 1 (the normalisation before it ends stage 0, whose last addition is no layer and cannot be named).
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
        index: Position, from 1 at the input.
        name: ``stage<index>``.
        layer: Name of the layer whose output ends the stage. All paths from the network's input to its output
            pass that tensor, so freezing everything up to it freezes whole stages and nothing else.
        height: Height of that output, in cells.
        width: Width of that output, in cells.
        channels: Number of channels of that output.
    """

    index: int
    name: str
    layer: str
    height: int
    width: int
    channels: int


def find_stages(model: Any, family: str = "") -> tuple[Stage, ...]:
    """Split an image network into stages at cut points of its layer graph.

    A stage ends at the last cut point of each named group of blocks where the family has them, else at the
    last cut point at each resolution (octave of the input's size). Layers ahead of the first weights make no
    stage of their own. NASNet has two stages only: each of its cells takes the outputs of the two before it,
    so that no tensor between its stem and its end is passed by all paths.

    Args:
        model: Functional ``keras.Model`` with one image input [batch, height, width, 3] of fixed size; a
            pooled head after the last feature map is ignored.
        family: ``family`` of a catalogue row; an unknown one gets the rule by resolution. Where that gives one stage
            and the family is empty, as for a network of the user's own, every layer with weights ends one.

    Returns:
        The stages from input to output; the last one ends at the last feature map that is a cut point.
    """
    operations = list(model.operations)
    pattern, unit_is_stage = _UNITS.get(family, ("", False))
    units = _units([operation.name for operation in operations], pattern)
    if unit_is_stage:
        # The stem alone is no stage: it joins the first unit.
        first = next((unit for unit in units if unit), 0)
        units = [unit or first for unit in units]
    weighted = [_has_weights(operation) for operation in operations]
    cuts = [position for position in cut_positions(operations) if _is_feature_map(operations[position])]
    # The first cut points are the preprocessing's.
    cuts = [cut for cut in cuts if any(weighted[: cut + 1])]
    ends = _last_of_each(cuts, lambda cut: units[cut] or -cut)
    if not unit_is_stage:
        side = model.inputs[0].shape[1]
        octaves = _last_of_each(ends, lambda cut: _octave(operations[cut], side))
        ends = octaves if len(octaves) > 1 or family else _last_of_each(ends, lambda cut: sum(weighted[: cut + 1]))
    return tuple(_stage(index, operations[end]) for index, end in enumerate(ends, start=1))


def _last_of_each(cuts: list[int], key: Callable[[int], int]) -> list[int]:
    """Keep the last of each run of cut points with the same key."""
    return [cut for cut, after in zip(cuts, [*cuts[1:], None], strict=True) if after is None or key(cut) != key(after)]


def cut_positions(operations: Iterable[Any]) -> list[int]:
    """Find the operations through whose output all paths from input to output pass.

    In any topological order these are the ones that no edge spans: on a path that avoids one, some edge would
    lead from before it to after it.

    Args:
        operations: A functional model's operations in topological order, as ``model.operations`` has them.

    Returns:
        Their positions, in order.
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
    """Return the operations whose outputs an operation takes."""
    keras = import_keras()
    if isinstance(operation, keras.layers.InputLayer):
        return []
    # The one place that needs Keras's own record of where a tensor comes from; it has no public name.
    return [tensor._keras_history.operation for tensor in keras.tree.flatten(operation.input)]


def _units(names: list[str], pattern: str) -> list[int]:
    """Number the unit that each layer belongs to, from 1 and never falling; 0 ahead of the first."""
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
    """Return how often the input was halved: valid padding makes 149 and 147 of 299, both one octave down."""
    return round(math.log2(side / max(1, operation.output.shape[1])))


def _has_weights(operation: Any) -> bool:
    # Keras's Normalization holds the statistics of the input: preprocessing, not something that is trained.
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
