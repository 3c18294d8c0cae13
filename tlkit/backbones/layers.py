"""Describe the layers of a network: class, output shape, parameters, operations and receptive field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tlkit.backbones.network import Network
from tlkit.backbones.operations import layer_operations
from tlkit.backbones.stages import sources_of

Pair = tuple[int, int]
"""Along the height and along the width."""

_SLIDING = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "MaxPooling2D", "AveragePooling2D")
_GLOBAL = ("GlobalAveragePooling2D", "GlobalMaxPooling2D")


@dataclass(frozen=True)
class Layer:
    """One layer or operation of a network.

    Attributes:
        name: Its name in the Keras model.
        kind: Its class.
        stage: Name of the stage that it belongs to.
        shape: Shape of its output without the batch: (height, width, channels) for a feature map.
        kernel: Kernel size in cells; None: no kernel larger than one cell.
        stride: Stride in cells; None: no kernel.
        padding: Rows added above and below, and columns added left and right (negative: cropped); None: none.
        params: Number of parameters.
        operations: Multiply-adds for one image.
        by_formula: Size of its output by `size_by_formula`; None if that does not apply.
        receptive_field: Input pixels that one cell of its output depends on, ignoring the image's borders; None: the
            whole image, after global pooling.
    """

    name: str
    kind: str
    stage: str
    shape: tuple[int, ...]
    kernel: Pair | None
    stride: Pair | None
    padding: tuple[Pair, Pair] | None
    params: int
    operations: int
    by_formula: Pair | None
    receptive_field: Pair | None


@dataclass(frozen=True)
class _Window:
    """The sliding window of a layer: kernel (including dilation), stride and padding along both sides."""

    kernel: Pair
    stride: Pair
    padding: tuple[Pair, Pair]


@dataclass(frozen=True)
class _Field:
    """Receptive field of a cell, and distance between cells, in pixels; infinite for the whole image."""

    size: tuple[float, float]
    step: Pair


def size_by_formula(n: int, kernel: int, stride: int, padding: int) -> int:
    """Return the number of positions of a sliding window, ``(n + 2P - k)/S + 1`` rounded down.

    Args:
        n: Size of the input, in cells.
        kernel: Size of the window, k, in cells.
        stride: Stride, S, in cells.
        padding: Cells added on both sides together, 2P; with TensorFlow's "same" the two sides may differ by one.
    """
    return (n + padding - kernel) // stride + 1


def layers_of(network: Network) -> tuple[Layer, ...]:
    """Return all layers and operations of a built backbone, from input to output.

    The receptive field follows Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks",
    Distill 2019. It ignores gates that are computed from the whole image (squeeze-and-excitation): with them, every
    cell would see the whole image.
    """
    operations = list(network.model.operations)
    ends = [stage.layer for stage in network.stages]
    fields: dict[int, _Field] = {}
    number, rows = 0, []
    for operation in operations:
        sources = sources_of(operation)
        window = _window(operation)
        field = _field(operation, [fields[id(source)] for source in sources], window)
        fields[id(operation)] = field
        stage = network.stages[min(number, len(ends) - 1)].name
        rows.append(_row(operation, stage, sources, window, field))
        number += operation.name in ends
    return tuple(rows)


def _row(operation: Any, stage: str, sources: list[Any], window: _Window | None, field: _Field) -> Layer:
    kind = type(operation).__name__
    slides = window is not None and kind in _SLIDING
    whole = math.inf in field.size
    return Layer(
        name=operation.name,
        kind=kind,
        stage=stage,
        shape=tuple(int(side) for side in _output(operation).shape[1:]),
        kernel=window.kernel if window and slides else None,
        stride=window.stride if window and slides else None,
        padding=window.padding if window and any(map(any, window.padding)) else None,
        params=operation.count_params() if hasattr(operation, "count_params") else 0,
        operations=layer_operations(operation) if hasattr(operation, "trainable_weights") else 0,
        by_formula=_by_formula(sources, window),
        receptive_field=None if whole else (int(field.size[0]), int(field.size[1])),
    )


def _window(operation: Any) -> _Window | None:
    """How a convolution, a pooling, a padding or a cropping slides; None of any other operation."""
    kind = type(operation).__name__
    if kind == "ZeroPadding2D":
        return _Window((1, 1), (1, 1), operation.padding)
    if kind == "Cropping2D":
        (top, bottom), (left, right) = operation.cropping
        return _Window((1, 1), (1, 1), ((-top, -bottom), (-left, -right)))
    if kind not in _SLIDING:
        return None
    cells = operation.pool_size if kind.endswith("Pooling2D") else operation.kernel_size
    dilation = getattr(operation, "dilation_rate", (1, 1))
    kernel = (dilation[0] * (cells[0] - 1) + 1, dilation[1] * (cells[1] - 1) + 1)
    stride = (int(operation.strides[0]), int(operation.strides[1]))
    if operation.padding != "same":
        return _Window(kernel, stride, ((0, 0), (0, 0)))
    _, height, width, _ = operation.input.shape
    return _Window(kernel, stride, (_same(height, kernel[0], stride[0]), _same(width, kernel[1], stride[1])))


def _same(n: int, kernel: int, stride: int) -> Pair:
    """Return what TensorFlow's "same" adds before and after ``n`` cells: the least for ceil(n / stride) positions."""
    total = max((math.ceil(n / stride) - 1) * stride + kernel - n, 0)
    return total // 2, total - total // 2


def _by_formula(sources: list[Any], window: _Window | None) -> Pair | None:
    if window is None:
        return None
    _, height, width, _ = _output(sources[0]).shape
    sides = zip((height, width), window.kernel, window.stride, window.padding, strict=True)
    found = [size_by_formula(n, kernel, stride, sum(padding)) for n, kernel, stride, padding in sides]
    return found[0], found[1]


def _field(operation: Any, sources: list[_Field], window: _Window | None) -> _Field:
    if not sources:
        return _Field((1, 1), (1, 1))
    # A gate sees the whole image; the position comes from the feature map that it is multiplied with.
    known = [field for field in sources if math.inf not in field.size] or sources
    size = (max(field.size[0] for field in known), max(field.size[1] for field in known))
    step = (max(field.step[0] for field in known), max(field.step[1] for field in known))
    if type(operation).__name__ in _GLOBAL:
        return _Field((math.inf, math.inf), step)
    if window is None:
        return _Field(size, step)
    grown = [size[side] + (window.kernel[side] - 1) * step[side] for side in (0, 1)]
    return _Field((grown[0], grown[1]), (step[0] * window.stride[0], step[1] * window.stride[1]))


def _output(operation: Any) -> Any:
    output = operation.output
    return output[0] if isinstance(output, list) else output
