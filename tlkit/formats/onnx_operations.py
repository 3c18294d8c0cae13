"""LiteRT's operations as nodes of ONNX, opset 18: those of all networks in the catalogue, and others like them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.formats.lite_file import Operation
from tlkit.formats.lite_shapes import slices
from tlkit.formats.onnx_elements import BINARY, UNARY, activated, add_binary, add_unary
from tlkit.formats.onnx_graph import CHANNELS_FIRST_AXIS, TO_CHANNELS_FIRST, OnnxGraph, unsupported
from tlkit.formats.onnx_layers import (
    REDUCTIONS,
    add_convolution,
    add_dense,
    add_pooling,
    add_reduction,
    add_softmax,
    constant,
)

_END = np.iinfo(np.int64).max


def add_operation(graph: OnnxGraph, its: Operation) -> None:
    """Add an operation to an ONNX network.

    Raises:
        TlkitError: It is not known, or is used in a way that is not.
    """
    if its.kind not in OPERATIONS:
        raise unsupported(f"its operation {its.kind} is not supported")
    OPERATIONS[its.kind](graph, its)


def _concatenation(graph: OnnxGraph, its: Operation) -> None:
    rank = graph.rank(its.output)
    axis, first = its.options.axis % rank, rank == 4 and any(graph.is_channels_first(x) for x in its.inputs)
    parts = [graph.first(x) if first else graph.last(x) for x in its.inputs]
    x = graph.node("Concat", parts, axis=CHANNELS_FIRST_AXIS[axis] if first else axis)
    graph.keep(its.output, activated(graph, x, its.options.fusedActivationFunction), channels_first=first)


def _pad(graph: OnnxGraph, its: Operation) -> None:
    x, amounts = its.inputs[0], constant(graph, its, 1)
    first = graph.is_channels_first(x)
    amounts = amounts[list(TO_CHANNELS_FIRST)] if first else amounts
    filling = constant(graph, its, 2) if its.kind == "PADV2" else np.zeros((), np.float32)
    inputs = [graph.constant(amounts.T.ravel()), graph.constant(filling.reshape(()))]
    padded = graph.node("Pad", [graph.first(x) if first else graph.last(x), *inputs])
    graph.keep(its.output, padded, channels_first=first)


def _strided_slice(graph: OnnxGraph, its: Operation) -> None:
    if its.options.ellipsisMask or its.options.newAxisMask:
        raise unsupported("STRIDED_SLICE with an ellipsis or a new axis")
    begin, end, step = (constant(graph, its, place).tolist() for place in (1, 2, 3))
    parts: list[list[int]] = []  # start, stop, axis, step
    removed = []
    first = graph.is_channels_first(its.inputs[0]) and len(begin) == 4 and not its.options.shrinkAxisMask
    for axis, taken in enumerate(slices(its.options, begin, end, step)):
        place = CHANNELS_FIRST_AXIS[axis] if first else axis
        if isinstance(taken, int):  # one element, which may be counted from the end
            removed.append(place)
            parts.append([taken, (taken + 1) or _END, place, 1])
        elif taken != slice(None, None, 1):
            forward = taken.step > 0
            start = (0 if forward else _END) if taken.start is None else taken.start
            stop = (_END if forward else -_END) if taken.stop is None else taken.stop
            parts.append([start, stop, place, taken.step])
    x = graph.first(its.inputs[0]) if first else graph.last(its.inputs[0])
    if parts:
        x = graph.node("Slice", [x, *(graph.constant(each) for each in zip(*parts, strict=True))])
    x = graph.node("Squeeze", [x, graph.constant(removed)]) if removed else x
    graph.keep(its.output, x, channels_first=first)


def _reverse(graph: OnnxGraph, its: Operation) -> None:
    axes = constant(graph, its, 1).ravel().tolist()
    back = graph.constant([-1] * len(axes))
    inputs = [back, graph.constant([-_END] * len(axes)), graph.constant(axes), back]
    graph.keep(its.output, graph.node("Slice", [graph.last(its.inputs[0]), *inputs]), channels_first=False)


def _reshape(graph: OnnxGraph, its: Operation) -> None:
    target = constant(graph, its, 1).ravel().tolist()
    if target.count(-1) > 1:
        raise unsupported("RESHAPE to several unknown sides")
    to_map = graph.rank(its.inputs[0]) == 2 and len(target) == 4 and target[1:3] == [1, 1]
    if to_map:  # channels alone: the same numbers in both layouts
        target = [target[place] for place in TO_CHANNELS_FIRST]
    x = graph.node("Reshape", [graph.last(its.inputs[0]), graph.constant(target)])
    graph.keep(its.output, x, channels_first=to_map)


def _transpose(graph: OnnxGraph, its: Operation) -> None:
    order = constant(graph, its, 1).ravel().tolist()
    graph.keep(its.output, graph.node("Transpose", [graph.last(its.inputs[0])], perm=order), channels_first=False)


OPERATIONS: dict[str, Callable[[OnnxGraph, Operation], Any]] = {
    **dict.fromkeys(UNARY, add_unary),
    **dict.fromkeys(BINARY, add_binary),
    **dict.fromkeys(REDUCTIONS, add_reduction),
    "AVERAGE_POOL_2D": add_pooling,
    "CONCATENATION": _concatenation,
    "CONV_2D": add_convolution,
    "DEPTHWISE_CONV_2D": add_convolution,
    "FULLY_CONNECTED": add_dense,
    "MAX_POOL_2D": add_pooling,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "REVERSE_V2": _reverse,
    "SOFTMAX": add_softmax,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE": _transpose,
}
