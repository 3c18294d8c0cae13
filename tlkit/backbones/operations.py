"""How much a network computes: the multiply-adds of its convolutions and dense layers, counted layer by layer."""

from __future__ import annotations

import math
from typing import Any

from tlkit.backbones.extractor import TOP
from tlkit.backbones.network import Network


def layer_operations(layer: Any) -> int:
    """Multiply-adds of one layer for one image: each cell of a kernel is used once a place of the output.

    Only kernels count. Biases, normalisation, activations and pooling do not, as in the figures of most papers.

    Args:
        layer: A Keras layer that was called once, with an output of fixed size; without weights it counts 0.
    """
    kernels = [variable for variable in getattr(layer, "trainable_weights", ()) if is_kernel(variable)]
    # A dense layer is applied at every place of a feature map too.
    places = math.prod(layer.output.shape[1:-1]) if kernels else 0
    return int(sum(math.prod(kernel.shape) for kernel in kernels) * places)


def model_operations(model: Any) -> int:
    """Multiply-adds of a functional ``keras.Model`` for one image; Sequential models inside count with the rest."""
    inner = (model_operations(layer) if hasattr(layer, "layers") else layer_operations(layer) for layer in model.layers)
    return sum(inner)


def count_operations(network: Network) -> dict[str, int]:
    """Multiply-adds for one image up to the end of each stage, by its name, and of the whole backbone under "top"."""
    ends = {stage.layer: stage.name for stage in network.stages}
    total, counts = 0, {}
    for layer in network.model.operations:
        total += layer_operations(layer)
        if layer.name in ends:
            counts[ends[layer.name]] = total
    return {**counts, TOP: total}


def is_kernel(variable: Any) -> bool:
    """Whether a variable is a layer's kernel, not a bias or a parameter of a norm."""
    return len(variable.shape) > 1
