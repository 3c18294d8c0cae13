"""Backbone and head as one Keras network, and the names its layers have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tlkit.backbones.extractor import TOP, Taps, tap_tensors
from tlkit.backbones.network import Network
from tlkit.backbones.runtime import import_keras
from tlkit.linear.head import Head

# what the layers of the head are called
MODEL, POOL, JOINED, LOGITS, PROBABILITIES = "tlkit", "head_pool", "head_features", "logits", "probabilities"
WATCHED = 3  # last stages whose features tell whether an image is like those trained on


def watched(taps: Taps, head_taps: Sequence[str]) -> tuple[str, ...]:
    """Names of the last blocks, `WATCHED` at most, of a network that ends where its head's last block does.

    Args:
        taps: The backbone's.
        head_taps: Those that the head takes, from input to output.
    """
    names = [name for name, _ in taps]
    return tuple(names[: names.index(head_taps[-1]) + 1][-WATCHED:])


def layers_of(network: Network, taps: Sequence[str]) -> dict[str, str]:
    """The layers that blocks are averaged from, by the blocks' names."""
    ends = {stage.name: stage.layer for stage in network.stages}
    ends[TOP] = network.model.output._keras_history.operation.name  # the layer that made a tensor
    return {tap: ends[tap] for tap in taps}


def with_features(model: Any, layers: Iterable[str]) -> Any:
    """A network from `attach_head` whose output is probabilities and then features, float32 [n, classes + columns].

    Args:
        model: The network.
        layers: Of these the outputs are averaged over space, as the features.
    """
    keras = import_keras()
    pooled = [keras.ops.mean(model.get_layer(name).output, axis=(1, 2)) for name in layers]
    return keras.Model(model.input, keras.ops.concatenate([model.output, *pooled], axis=1))


def attach_head(network: Network, head: Head, taps: Sequence[str] = (TOP,)) -> Any:
    """A ``keras.Model`` from RGB 0..255, float32 [n, h, w, 3], to probabilities, float32 [n, classes].

    The backbone's layers are the model's own layers, those that the head does not need are left out. The head is
    ``head_pool`` (average over space), ``logits`` (dense) and ``probabilities`` (softmax); of several taps each has a
    pooling layer, and ``head_features`` puts them one after another.
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
