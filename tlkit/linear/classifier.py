"""Join backbone and head into one Keras network, and name its layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tlkit.backbones.extractor import TOP, Taps, joined_means, tap_tensors
from tlkit.backbones.network import Network
from tlkit.backbones.runtime import import_keras
from tlkit.linear.head import Head

# names of the model and of the head's layers
MODEL, POOL, JOINED, LOGITS, PROBABILITIES = "tlkit", "head_pool", "head_features", "logits", "probabilities"
MAX_OOD_TAPS = 3  # last stages whose features are used for out-of-distribution (OOD) detection


def ood_taps(taps: Taps, head_taps: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the taps used for OOD detection: the last `MAX_OOD_TAPS` up to the head's last tap.

    Args:
        taps: All taps of the backbone.
        head_taps: Names of the taps the head uses, from input to output.
    """
    names = [name for name, _ in taps]
    return tuple(names[: names.index(head_taps[-1]) + 1][-MAX_OOD_TAPS:])


def layers_of(network: Network, taps: Sequence[str]) -> dict[str, str]:
    """Map tap names to the layers whose outputs they average."""
    ends = {stage.name: stage.layer for stage in network.stages}
    ends[TOP] = network.model.output._keras_history.operation.name  # the layer that produced the output
    return {tap: ends[tap] for tap in taps}


def with_features(model: Any, layers: Iterable[str]) -> Any:
    """Extend a network from `attach_head` to output probabilities, then features: float32 [n, classes + columns].

    Args:
        model: The network.
        layers: Layers whose outputs, averaged over space, are the features.
    """
    features = joined_means([model.get_layer(name).output for name in layers], before=model.output)
    return import_keras().Model(model.input, features)


def attach_head(network: Network, head: Head, taps: Sequence[str] = (TOP,)) -> Any:
    """Build a ``keras.Model`` from RGB 0..255, float32 [n, h, w, 3], to probabilities, float32 [n, classes].

    The backbone's layers become layers of the model; layers the head does not need are left out. The head is
    ``head_pool`` (average over space), ``logits`` (dense) and ``probabilities`` (softmax). With several taps, each has
    its own pooling layer, and ``head_features`` concatenates them.
    """
    keras = import_keras()
    classes = len(head.bias)
    maps = dict(tap_tensors(network))
    if len(taps) == 1:
        pooled = keras.layers.GlobalAveragePooling2D(name=POOL)(maps[taps[0]])
    else:
        parts = [keras.layers.GlobalAveragePooling2D(name=f"{POOL}_{tap}")(maps[tap]) for tap in taps]
        pooled = keras.layers.Concatenate(name=JOINED)(parts)
    dense = keras.layers.Dense(classes, name=LOGITS)
    output = keras.layers.Softmax(name=PROBABILITIES)(dense(pooled))
    dense.set_weights([head.kernel, head.bias])
    return keras.Model(network.model.input, output, name="tlkit")


def apply_temperature(model: Any, temperature: float) -> None:
    """Divide the logits of a network from `attach_head` by a temperature, in place."""
    layer = model.get_layer(LOGITS)
    layer.set_weights([each / np.float32(temperature) for each in layer.get_weights()])
