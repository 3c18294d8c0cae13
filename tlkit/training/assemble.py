"""Backbone and head become one network: a flat Keras model, and the same in LiteRT's format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones import conversions, tflite
from tlkit.backbones.build import Network
from tlkit.backbones.engines import AGREEMENT, LiteRTNetwork, has_litert
from tlkit.backbones.extractor import TOP, Extractor, tap_tensors
from tlkit.backbones.lite_graph import lite_graph
from tlkit.backbones.runtime import import_keras
from tlkit.images.batches import load_picture
from tlkit.training.head import Head
from tlkit.training.keras_process import KerasProcess

POOL, JOINED, LOGITS, PROBABILITIES = "head_pool", "head_features", "logits", "probabilities"


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


def write_networks(
    keras_file: Path,
    lite_file: Path,
    extractor: Extractor,
    head: Head,
    samples: Sequence[Path],
    taps: Sequence[str] = (TOP,),
    process: KerasProcess | None = None,
) -> str:
    """Write the network for Keras and, where the backbone has a LiteRT graph that agrees with it, for LiteRT.

    Args:
        keras_file: Where the first goes.
        lite_file: Where the second goes.
        extractor: The frozen backbone; its graph gets the head attached, nothing is converted again.
        head: On the pooled features of ``taps``.
        samples: Pictures on which both must give the same probabilities.
        taps: Names of the blocks the head takes, from input to output.
        process: One that has built the Keras network; None, or where it failed: it is built here.

    Returns:
        Why the second was not written although there was a graph, else "".
    """
    pixels = _sample_pixels(extractor, samples)
    theirs = process.save(keras_file, head, pixels, taps) if process else None
    if theirs is None:
        model = attach_head(extractor.network, head, taps)
        model.save(keras_file)
        theirs = np.asarray(model(pixels.astype(np.float32), training=False))
    if extractor.graph is None:
        return ""
    names = [name for name, _ in extractor.taps]
    lite = tflite.attach_head(extractor.graph, [names.index(tap) for tap in taps], head.kernel, head.bias)
    return _write_if_alike(lite_file, lite, pixels, theirs)


def write_tuned(
    keras_file: Path, lite_file: Path, model: Any, extractor: Extractor, taps: Sequence[str], samples: Sequence[Path]
) -> str:
    """Write a network whose weights were tuned, for Keras and, where it can be converted, for LiteRT.

    Args:
        keras_file: Where the first goes.
        lite_file: Where the second goes.
        model: As from `attach_head`, float32.
        extractor: Of the backbone it came from.
        taps: Names of the blocks its head takes.
        samples: Pictures on which both must give the same probabilities.

    Returns:
        Why the second was not written, else "".
    """
    pixels = _sample_pixels(extractor, samples)
    model.save(keras_file)
    theirs = np.asarray(model(pixels.astype(np.float32), training=False))
    if not has_litert():
        return ""
    try:
        lite = _converted(model, extractor, taps)
    except Exception as error:  # noqa: BLE001  (a converter may fail in any way; Keras runs every network)
        reason = " ".join(str(error).split())[:120]
        return f"this network cannot be converted for LiteRT, so Keras, the slower one, runs it: {reason}"
    return _write_if_alike(lite_file, lite, pixels, theirs)


def cool(model: Any, temperature: float) -> None:
    """Divide the logits of a network from `attach_head` by a temperature, in place."""
    layer = model.get_layer(LOGITS)
    layer.set_weights([each / np.float32(temperature) for each in layer.get_weights()])


def _converted(model: Any, extractor: Extractor, taps: Sequence[str]) -> bytes:
    if not extractor.backbone.packaged:
        return conversions.convert(model)
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    graph, blocks = lite_graph(weights, extractor.input_size, extractor.backbone.variant)
    names = [name for name, _ in blocks]
    return tflite.attach_head(graph, [names.index(tap) for tap in taps], *weights[LOGITS])


def _sample_pixels(extractor: Extractor, samples: Sequence[Path]) -> NDArray[np.uint8]:
    size = (extractor.input_size, extractor.input_size)
    pictures = [item.picture.pixels for path in samples if (item := load_picture(path, size)).picture is not None]
    return np.stack(pictures or [np.full((*size, 3), 127, dtype=np.uint8)])


def _write_if_alike(file: Path, lite: bytes, pixels: NDArray[np.uint8], theirs: NDArray[np.float32]) -> str:
    """Write the LiteRT network if it gives what Keras gave; else say why not."""
    apart = float(np.abs(LiteRTNetwork(lite)(pixels) - theirs).max())
    if not apart <= AGREEMENT:  # also where it is not a number
        return f"LiteRT and Keras differ by {apart:.1g} in probability, so Keras, the slower one, will run this bundle"
    file.write_bytes(lite)
    return ""
