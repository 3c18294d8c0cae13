"""LiteRT's convolutions, pooling, dense layers and reductions as nodes of ONNX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.formats.lite_file import Array, Operation
from tlkit.formats.onnx_elements import activated
from tlkit.formats.onnx_graph import CHANNELS_FIRST_AXIS, TO_CHANNELS_FIRST, OnnxGraph, unsupported

_SAME = 0  # the schema's number of this padding; the other one is "valid"


def constant(graph: OnnxGraph, its: Operation, place: int) -> Array:
    """Return the values of a constant input.

    Raises:
        TlkitError: The network computes it.
    """
    values = graph.values(its.inputs[place])
    if values is None:
        raise unsupported(f"{its.kind} whose arguments are computed")
    return values


def add_convolution(graph: OnnxGraph, its: Operation) -> None:
    """Add a convolution, in groups or depthwise too."""
    kernel = constant(graph, its, 1)
    channels = graph.source.shapes[its.inputs[0]][3]
    depthwise = its.kind == "DEPTHWISE_CONV_2D"  # [1, h, w, out] instead of [out, h, w, in]
    weights = kernel.transpose(3, 0, 1, 2) if depthwise else kernel.transpose(TO_CHANNELS_FIRST)
    inputs = [graph.first(its.inputs[0]), graph.constant(weights), *_bias(graph, its)]
    windows = _windows(graph, its, kernel.shape[1:3])
    x = graph.node("Conv", inputs, group=channels // weights.shape[1], kernel_shape=list(weights.shape[2:]), **windows)
    graph.keep(its.output, activated(graph, x, its.options.fusedActivationFunction), channels_first=True)


def add_pooling(graph: OnnxGraph, its: Operation) -> None:
    """Add the maximum or the average of windows; padding does not count."""
    size = [its.options.filterHeight, its.options.filterWidth]
    kind = "MaxPool" if its.kind == "MAX_POOL_2D" else "AveragePool"
    x = graph.node(kind, [graph.first(its.inputs[0])], kernel_shape=size, **_windows(graph, its, size))
    graph.keep(its.output, activated(graph, x, its.options.fusedActivationFunction), channels_first=True)


def add_reduction(graph: OnnxGraph, its: Operation) -> None:
    """Add a mean, sum, maximum or minimum over axes."""
    x, rank, keeps = its.inputs[0], graph.rank(its.inputs[0]), bool(its.options.keepDims)
    axes = [int(axis) % rank for axis in constant(graph, its, 1).ravel()]
    first = graph.is_channels_first(x) and (keeps or set(axes) == {1, 2})
    if first:
        axes = [CHANNELS_FIRST_AXIS[axis] for axis in axes]
    inputs = [graph.first(x) if first else graph.last(x), graph.constant(np.asarray(axes, np.int64))]
    found = graph.node(REDUCTIONS[its.kind], inputs, keepdims=int(keeps))
    graph.keep(its.output, found, channels_first=first and keeps)


def add_dense(graph: OnnxGraph, its: Operation) -> None:
    """Add a dense layer over the last axis; its kernel is [out, in]."""
    kernel, x, rank = constant(graph, its, 1), graph.last(its.inputs[0]), graph.rank(its.inputs[0])
    if rank != 2 and not its.options.keepNumDims:
        x, rank = graph.node("Reshape", [x, graph.constant([-1, kernel.shape[1]])]), 2
    if rank == 2:
        x = graph.node("Gemm", [x, graph.constant(kernel), *_bias(graph, its)], transB=1)
    else:
        x = graph.node("MatMul", [x, graph.constant(kernel.T)])
        for bias in _bias(graph, its):
            x = graph.node("Add", [x, bias])
    graph.keep(its.output, activated(graph, x, its.options.fusedActivationFunction), channels_first=False)


def add_softmax(graph: OnnxGraph, its: Operation) -> None:
    """Add a softmax over the last axis."""
    x = graph.last(its.inputs[0])
    if its.options.beta != 1:
        x = graph.node("Mul", [x, graph.constant(its.options.beta)])
    graph.keep(its.output, graph.node("Softmax", [x], axis=-1), channels_first=False)


def _bias(graph: OnnxGraph, its: Operation) -> list[str]:
    return [graph.last(x) for x in its.inputs[2:3] if x >= 0]


def _windows(graph: OnnxGraph, its: Operation, kernel: Sequence[int]) -> dict[str, Any]:
    """Return strides, dilations and explicit padding of a convolution or pooling."""
    options = its.options
    strides = [options.strideH, options.strideW]
    dilations = [getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)]
    before, after = [0, 0], [0, 0]
    if options.padding == _SAME:  # an output for each stride, the odd row of padding at the end
        for axis, size in enumerate(graph.source.shapes[its.inputs[0]][1:3]):
            if size < 0:
                raise unsupported(f"{its.kind} on images of any size")
            reach = (kernel[axis] - 1) * dilations[axis] + 1
            total = max(0, (math.ceil(size / strides[axis]) - 1) * strides[axis] + reach - size)
            before[axis], after[axis] = total // 2, total - total // 2
    return {"strides": strides, "pads": before + after} | ({"dilations": dilations} if max(dilations) > 1 else {})


REDUCTIONS = {"MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin"}
