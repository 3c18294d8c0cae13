"""Count the multiply-adds of a network's convolutions and dense layers, layer by layer."""

from __future__ import annotations

import math
from typing import Any

from tlkit.backbones.extractor import TOP
from tlkit.backbones.network import Network


def layer_operations(layer: Any) -> int:
    """Return the multiply-adds of one layer for one image: each kernel value is used once per position of the output.

    Only kernels count. Biases, normalisation, activations and pooling do not, as in most papers.

    Args:
        layer: A Keras layer that was called once, with an output of fixed size; without weights the result is 0.
    """
    kernels = [variable for variable in getattr(layer, "trainable_weights", ()) if is_kernel(variable)]
    # A dense layer on a feature map is also applied at every position.
    places = math.prod(layer.output.shape[1:-1]) if kernels else 0
    return int(sum(math.prod(kernel.shape) for kernel in kernels) * places)


def model_operations(model: Any) -> int:
    """Return the multiply-adds of a functional ``keras.Model`` for one image, including nested models."""
    inner = (model_operations(layer) if hasattr(layer, "layers") else layer_operations(layer) for layer in model.layers)
    return sum(inner)


def count_operations(network: Network) -> dict[str, int]:
    """Return the multiply-adds for one image up to each stage, by its name, and of the whole backbone, as "top"."""
    ends = {stage.layer: stage.name for stage in network.stages}
    total, counts = 0, {}
    for layer in network.model.operations:
        total += layer_operations(layer)
        if layer.name in ends:
            counts[ends[layer.name]] = total
    return {**counts, TOP: total}


def is_kernel(variable: Any) -> bool:
    """Return whether a variable is a kernel, not a bias or normalisation parameter."""
    return len(variable.shape) > 1
