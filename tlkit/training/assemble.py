"""Backbone, pooling and head become one flat Keras model."""

from __future__ import annotations

from typing import Any

from tlkit.backbones.build import Network
from tlkit.backbones.runtime import import_keras
from tlkit.training.head import Head

POOL, LOGITS, PROBABILITIES = "head_pool", "logits", "probabilities"


def attach_head(network: Network, head: Head) -> Any:
    """A ``keras.Model`` from RGB 0..255, float32 [n, h, w, 3], to probabilities, float32 [n, classes].

    The backbone's layers are the model's own layers, the head is ``head_pool`` (average over space), ``logits``
    (dense) and ``probabilities`` (softmax).
    """
    keras = import_keras()
    classes = len(head.bias)
    pooled = keras.layers.GlobalAveragePooling2D(name=POOL)(network.model.output)
    dense = keras.layers.Dense(classes, name=LOGITS)
    output = keras.layers.Softmax(name=PROBABILITIES)(dense(pooled))
    dense.set_weights([head.kernel, head.bias])
    return keras.Model(network.model.inputs, output, name="tlkit")
