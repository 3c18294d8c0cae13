"""Write EfficientNet-Lite as a LiteRT file from its weights, without TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.efficientnet_lite import EPSILON, HEAD_FILTERS, blocks_of, packaged_weights, variant_of
from tlkit.backbones.litert.graph import Graph


def packaged_graph(variant: str, input_size: int) -> tuple[bytes, tuple[tuple[str, int], ...], str]:
    """Return the network with its packaged ImageNet weights as a LiteRT file.

    BatchNorm is folded into the convolutions. The scaling of pixels is not, since "same" padding adds zeros after it.

    Args:
        variant: A key of ``VARIANTS``.
        input_size: Side of the square input in pixels.

    Returns:
        The file, from float32 [n, size, size, 3] (RGB, 0..255) to float32 [n, columns]: the pooled outputs of all
        groups of blocks but the last, then of the top; (name, width) of these outputs; SHA-256 of the weight file.

    Raises:
        TlkitError: There is no such variant, its package is not installed, or the weight file is the wrong one.
    """
    weights, digest = packaged_weights(variant)
    return *lite_graph(weights, input_size, variant), digest


def lite_graph(
    weights: dict[str, list[NDArray[Any]]], input_size: int, variant: str = "lite0"
) -> tuple[bytes, tuple[tuple[str, int], ...]]:
    """Return the network with any weights as a LiteRT file.

    Args:
        weights: Weights of each layer by its name, in Keras's order and layout. If the later groups of blocks are
            missing, the network ends with the last group present.
        input_size: Side of the square input in pixels.
        variant: A key of ``VARIANTS``.

    Returns:
        The file, and (name, width) of the blocks of its output, as from `packaged_graph`.
    """
    spec = variant_of(variant)
    graph = Graph()
    x = graph.rescale(graph.image(input_size, input_size), 1 / 128, -127 / 128)
    x = graph.conv(x, *_folded(weights, "stem"), stride=2)
    filters = 0
    ends: dict[str, tuple[int, int]] = {}
    for block in blocks_of(spec):
        if f"{block.name}_project_conv" not in weights:
            break
        entry, entered = x, filters
        if block.expansion != 1:
            x = graph.conv(x, *_folded(weights, f"{block.name}_expand"))
        x = graph.depthwise(x, *_folded(weights, f"{block.name}_depthwise"), stride=block.stride)
        x = graph.conv(x, *_folded(weights, f"{block.name}_project"), relu6=False)
        filters = block.filters
        if block.stride == 1 and entered == filters:
            x = graph.add(entry, x)
        ends[block.name.split("_")[0].replace("block", "stage")] = (x, filters)
    if "top_conv" in weights:
        ends.popitem()  # the last group ends at the top
        ends["top"] = (graph.conv(x, *_folded(weights, "top")), HEAD_FILTERS)
    file = graph.finish(graph.concatenate([graph.pool(end) for end, _ in ends.values()]))
    return file, tuple((name, width) for name, (_, width) in ends.items())


def _folded(weights: dict[str, list[NDArray[Any]]], name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel and bias of a convolution with its BatchNorm folded in; depthwise kernels: [h, w, channels, 1]."""
    (kernel,) = weights[f"{name}_conv"]
    gamma, beta, mean, variance = (each.astype(np.float64) for each in weights[f"{name}_bn"])
    scale = gamma / np.sqrt(variance + EPSILON)
    shape = (1, 1, -1, 1) if name.endswith("depthwise") else (1, 1, 1, -1)
    return (kernel * scale.reshape(shape)).astype(np.float32), (beta - mean * scale).astype(np.float32)
