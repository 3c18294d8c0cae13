"""Biases that make good for the mean error of int8 weights.

Rounding the weights of a convolution or dense layer shifts the mean of each of its output channels, by the same amount
in every image. The shift is the rounding error applied to the mean input, and is taken off the bias. The method is that
of Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV
2019, section 4.2, with means measured on images.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.litert.graph import Array, Graph, Tensor
from tlkit.backbones.runtime import silent_stderr
from tlkit.images.batches import cpu_count

_LEVELS = 127  # of an int8 weight, on each side of 0


def with_corrected_biases(network: bytes, images: NDArray[np.uint8], kept: Collection[str] = ()) -> bytes:
    """Return a float32 network whose biases fit int8 weights.

    Args:
        network: A network in LiteRT's format.
        images: uint8 [n, height, width, 3], n > 0: images like those it will see.
        kept: Names of the operations whose weights stay in float32 (`name_of`).
    """
    graph = Graph(network)
    chosen = [
        each
        for each in graph.graph.operators
        if (is_convolution(graph, each) or is_dense(graph, each)) and name_of(graph, each) not in kept
    ]
    means = _mean_maps(network, images, {int(each.inputs[0]) for each in chosen})
    for operator in chosen:
        weights = _values(graph, operator, 1)
        bias = _values(graph, operator, 2)
        if weights is not None and bias is not None:
            shift = _shift(graph, operator, weights, means[int(operator.inputs[0])])
            buffer = graph.model.buffers[graph.graph.tensors[operator.inputs[2]].buffer]
            buffer.data = np.frombuffer((bias - shift).astype(np.float32).tobytes(), dtype=np.uint8)
    return graph.finish(*map(int, graph.graph.outputs))


def is_convolution(graph: Graph, operator: Any) -> bool:
    """Return whether an operation of a graph is a convolution, depthwise or not."""
    kinds = graph.schema.BuiltinOperator
    return _code(graph, operator) in (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D)


def is_dense(graph: Graph, operator: Any) -> bool:
    """Return whether an operation of a graph is a dense layer, which works on the last dimension of its input."""
    return bool(_code(graph, operator) == graph.schema.BuiltinOperator.FULLY_CONNECTED)


def name_of(graph: Graph, operator: Any) -> str:
    """Return the name of an operation of a graph: that of its output."""
    name = graph.graph.tensors[operator.outputs[0]].name
    return name.decode() if isinstance(name, bytes) else str(name)


def rounded(weights: Array, axis: int) -> Array:
    """Return the values that int8 weights stand for: symmetric, with a scale for each channel.

    Args:
        weights: float32.
        axis: Dimension of the output channels.
    """
    others = tuple(each for each in range(weights.ndim) if each != axis)
    scale = np.maximum(np.abs(weights).max(axis=others, keepdims=True), np.finfo(np.float32).tiny) / _LEVELS
    found: Array = np.round(weights / scale) * scale
    return found


def _shift(graph: Graph, operator: Any, weights: Array, mean: Array) -> Array:
    """Return by how much rounding the weights moves the mean of each output channel, [channels].

    Args:
        graph: The graph of the operator.
        operator: A convolution or dense layer.
        weights: [out, h, w, in]; depthwise: [1, h, w, channels]; dense: [out, in].
        mean: Mean input of the operator, [height, width, channels]; dense: [..., in].
    """
    if is_dense(graph, operator):
        return np.asarray((rounded(weights, axis=0) - weights) @ mean.reshape(-1, weights.shape[1]).mean(axis=0))
    depthwise = _code(graph, operator) == graph.schema.BuiltinOperator.DEPTHWISE_CONV_2D
    error = rounded(weights, axis=3 if depthwise else 0) - weights
    patch = _mean_patch(graph, operator, weights.shape[1:3], mean)
    if depthwise:
        repeated = patch.repeat(operator.builtinOptions.depthMultiplier, axis=2)
        return np.asarray((error[0] * repeated).sum(axis=(0, 1)))
    groups = patch.shape[2] // weights.shape[3]
    parts = zip(np.split(error, groups), np.split(patch, groups, axis=2), strict=True)
    return np.concatenate([np.tensordot(each, part, axes=3) for each, part in parts])


def _mean_patch(graph: Graph, operator: Any, kernel: tuple[int, ...], mean: Array) -> Array:
    """Return the mean, over all output positions, of the input under each weight: [h, w, channels]."""
    options, same = operator.builtinOptions, graph.schema.Padding.SAME
    padding, slices = [], []
    strides, dilations = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    for side, size, stride, dilation in zip(mean.shape, kernel, strides, dilations, strict=False):
        reach = (size - 1) * dilation + 1
        count = -(-side // stride) if options.padding == same else (side - reach) // stride + 1
        total = max((count - 1) * stride + reach - side, 0) if options.padding == same else 0
        padding.append((total // 2, total - total // 2))
        slices.append([slice(at * dilation, at * dilation + (count - 1) * stride + 1, stride) for at in range(size)])
    padded = np.pad(mean, [*padding, (0, 0)])
    return np.array([[padded[rows, columns].mean(axis=(0, 1)) for columns in slices[1]] for rows in slices[0]])


def _mean_maps(network: bytes, images: NDArray[np.uint8], tensors: Collection[Tensor]) -> dict[Tensor, Array]:
    """Return feature maps of a network, each the mean over the images, without the batch."""
    from ai_edge_litert.interpreter import Interpreter

    sums: dict[Tensor, Any] = dict.fromkeys(tensors, 0.0)
    with silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it keeps all feature maps, as it is to
        run: Any = Interpreter(model_content=network, num_threads=cpu_count(), experimental_preserve_all_tensors=True)
        run.allocate_tensors()
        for image in images:
            run.set_tensor(run.get_input_details()[0]["index"], image[None].astype(np.float32))
            run.invoke()
            for tensor in tensors:
                sums[tensor] = sums[tensor] + run.get_tensor(tensor)[0].astype(np.float64)
    return {tensor: total / len(images) for tensor, total in sums.items()}


def _values(graph: Graph, operator: Any, place: int) -> Array | None:
    """Return the values of an input of an operation; None: there is no such input, or it is no constant."""
    if len(operator.inputs) <= place or operator.inputs[place] < 0:
        return None
    tensor = graph.graph.tensors[operator.inputs[place]]
    data = graph.model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return None
    found: Array = np.frombuffer(np.asarray(data, dtype=np.uint8).tobytes(), dtype=np.float32).reshape(tensor.shape)
    return found


def _code(graph: Graph, operator: Any) -> int:
    code: int = graph.model.operatorCodes[operator.opcodeIndex].builtinCode
    return code
