"""Backbone and head become one network: a flat Keras model, and the same in LiteRT's format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import AGREEMENT, LiteRTNetwork, has_litert
from tlkit.backbones.extractor import TOP, Extractor, Taps, columns_of
from tlkit.backbones.litert import conversions
from tlkit.backbones.litert import heads as lite_heads
from tlkit.backbones.litert.efficientnet_lite import lite_graph
from tlkit.backbones.runtime import import_keras
from tlkit.export.keras_archive import write_packaged
from tlkit.images.batches import load_image
from tlkit.linear.classifier import LOGITS, attach_head, layers_of, ood_taps
from tlkit.linear.head import Head
from tlkit.plan.choices import IMAGENET


@dataclass(frozen=True)
class Written:
    """What came of writing a network.

    Attributes:
        layers: Of each block that tells of unlike images, the layer of ``model.keras`` it is averaged from.
        problem: Why there is no network for LiteRT although there could be one, else "".
    """

    layers: dict[str, str]
    problem: str = ""


def write_networks(
    keras_file: Path,
    lite_file: Path,
    extractor: Extractor,
    head: Head,
    samples: Sequence[Path],
    taps: Sequence[str] = (TOP,),
) -> Written:
    """Write the network for Keras and, where the backbone has a LiteRT graph that agrees with it, for LiteRT.

    Args:
        keras_file: Where the first goes.
        lite_file: Where the second goes; besides probabilities it gives the features of the `ood_taps` blocks.
        extractor: The frozen backbone; its graph gets the head attached, nothing is converted again. With the packaged
            weights, and where Keras is not at work anyway, the file for Keras is written without it.
        head: On the pooled features of ``taps``.
        samples: Images on which both must give the same probabilities.
        taps: Names of the blocks the head takes, from input to output.
    """
    pixels, shown = _sample_pixels(extractor, samples), ood_taps(extractor.taps, taps)
    if _is_packaged(extractor):
        layers = write_packaged(
            keras_file, extractor.backbone.variant, extractor.input_size, head.kernel, head.bias, taps
        )
        features = extractor.forward()(pixels)[:, columns_of(extractor.taps, taps)]
        theirs, layers = head.probabilities(features), {tap: layers[tap] for tap in shown}
    else:
        model = attach_head(extractor.network, head, taps)
        model.save(keras_file)
        theirs = np.asarray(model(pixels.astype(np.float32), training=False))
        layers = layers_of(extractor.network, shown)
    if extractor.graph is None:
        return Written(layers)
    lite = _lite(extractor.graph, extractor.taps, taps, shown, head.kernel, head.bias)
    return Written(layers, _write_if_alike(lite_file, lite, pixels, theirs))


def write_tuned(
    keras_file: Path,
    lite_file: Path,
    model: Any,
    extractor: Extractor,
    taps: Sequence[str],
    layers: dict[str, str],
    samples: Sequence[Path],
) -> Written:
    """Write a network whose weights were tuned, for Keras and, where it can be converted, for LiteRT.

    Args:
        keras_file: Where the first goes.
        lite_file: Where the second goes; besides probabilities it gives the features of the `ood_taps` blocks.
        model: As from `attach_head`, float32.
        extractor: Of the backbone it came from.
        taps: Names of the blocks its head takes.
        layers: As from `layers_of`, of the `ood_taps` blocks and the head's.
        samples: Images on which both must give the same probabilities.
    """
    pixels, shown = _sample_pixels(extractor, samples), ood_taps(extractor.taps, taps)
    model.save(keras_file)
    theirs = np.asarray(model(pixels.astype(np.float32), training=False))
    kept = {tap: layers[tap] for tap in shown}
    if not has_litert():
        return Written(kept)
    try:
        lite = _converted(model, extractor, taps, shown, layers)
    except Exception as error:  # noqa: BLE001  (a converter may fail in any way; Keras runs every network)
        reason = " ".join(str(error).split())[:120]
        return Written(
            kept, f"this network cannot be converted for LiteRT, so Keras, the slower one, runs it: {reason}"
        )
    return Written(kept, _write_if_alike(lite_file, lite, pixels, theirs))


def _is_packaged(extractor: Extractor) -> bool:
    """Whether the network can be written without Keras: it is the packaged one as it came, and Keras is not at work."""
    return extractor.backbone.packaged and extractor.weights == IMAGENET and not extractor.is_built


def _converted(
    model: Any, extractor: Extractor, taps: Sequence[str], shown: Sequence[str], layers: dict[str, str]
) -> bytes:
    head = model.get_layer(LOGITS).get_weights()
    if extractor.backbone.packaged:
        weights = {layer.name: layer.get_weights() for layer in model.layers}
        graph, blocks = lite_graph(weights, extractor.input_size, extractor.backbone.variant)
        return _lite(graph, blocks, taps, shown, *head)
    keras = import_keras()
    blocks = tuple((name, width) for name, width in extractor.taps if name in (*taps, *shown))
    pooled = [keras.ops.mean(model.get_layer(layers[name]).output, axis=(1, 2)) for name, _ in blocks]
    features = keras.ops.concatenate(pooled, axis=1) if len(pooled) > 1 else pooled[0]
    return _lite(conversions.convert(keras.Model(model.input, features)), blocks, taps, shown, *head)


def _lite(
    graph: bytes,
    blocks: Taps,
    taps: Sequence[str],
    shown: Sequence[str],
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> bytes:
    names = [name for name, _ in blocks]
    places, seen = [names.index(tap) for tap in taps], [names.index(tap) for tap in shown]
    return lite_heads.attach_head(graph, places, kernel, bias, seen)


def _sample_pixels(extractor: Extractor, samples: Sequence[Path]) -> NDArray[np.uint8]:
    size = (extractor.input_size, extractor.input_size)
    images = [item.image.pixels for path in samples if (item := load_image(path, size)).image is not None]
    return np.stack(images or [np.full((*size, 3), 127, dtype=np.uint8)])


def _write_if_alike(file: Path, lite: bytes, pixels: NDArray[np.uint8], theirs: NDArray[np.float32]) -> str:
    """Write the LiteRT network if it gives what Keras gave; else say why not."""
    apart = float(np.abs(LiteRTNetwork(lite)(pixels)[:, : theirs.shape[1]] - theirs).max())
    if not apart <= AGREEMENT:  # also where it is not a number
        return f"LiteRT and Keras differ by {apart:.1g} in probability, so Keras, the slower one, will run this bundle"
    file.write_bytes(lite)
    return ""
