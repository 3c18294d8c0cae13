"""Write backbone and head as one network: a flat Keras model and its LiteRT version."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import AGREEMENT, LiteRTNetwork, has_litert
from tlkit.backbones.extractor import TOP, Extractor, Taps, columns_of, joined_means
from tlkit.backbones.litert import conversions
from tlkit.backbones.litert import heads as lite_heads
from tlkit.backbones.litert.efficientnet_lite import lite_graph
from tlkit.backbones.runtime import import_keras
from tlkit.formats.keras_archive import write_packaged
from tlkit.images.batches import load_image
from tlkit.linear.classifier import LOGITS, attach_head, layers_of, ood_taps
from tlkit.linear.head import Head
from tlkit.plan.choices import IMAGENET

TEMPORARY = "temporary"  # folder beside a network that Keras saves


@dataclass(frozen=True)
class Written:
    """Result of writing a network.

    Attributes:
        layers: The layer of ``model.keras`` behind each tap used for OOD detection.
        problem: Why writing the LiteRT network failed, else "".
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
    """Write a frozen network with its head for Keras and, if the backbone has a LiteRT graph, for LiteRT.

    The LiteRT file is written only if both agree on the samples. With the packaged weights, and if Keras is not loaded
    yet, the Keras file is written without Keras.

    Args:
        keras_file: Path of the Keras file.
        lite_file: Path of the LiteRT file; besides probabilities it outputs the features of `ood_taps`.
        extractor: The frozen backbone. The head is attached to its LiteRT graph; nothing is converted again.
        head: Head on the pooled features of ``taps``.
        samples: Images on which both networks must return the same probabilities.
        taps: Names of the taps the head uses, from input to output.
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
        _save(model, keras_file)
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
    """Write a fine-tuned network for Keras and, if it can be converted, for LiteRT.

    Args:
        keras_file: Path of the Keras file.
        lite_file: Path of the LiteRT file; besides probabilities it outputs the features of `ood_taps`.
        model: A float32 model from `attach_head`.
        extractor: Extractor of the backbone it was trained from.
        taps: Names of the taps the head uses.
        layers: Layers from `layers_of`, for `ood_taps` and the head's taps.
        samples: Images on which both networks must return the same probabilities.
    """
    pixels, shown = _sample_pixels(extractor, samples), ood_taps(extractor.taps, taps)
    _save(model, keras_file)
    theirs = np.asarray(model(pixels.astype(np.float32), training=False))
    kept = {tap: layers[tap] for tap in shown}
    if not has_litert():
        return Written(kept)
    try:
        lite = _converted(model, extractor, taps, shown, layers)
    except Exception as error:  # noqa: BLE001  (a converter may fail in any way; Keras runs every network)
        reason = " ".join(str(error).split())[:120]
        return Written(kept, f"cannot convert this network for LiteRT, so the slower Keras will run it: {reason}")
    return Written(kept, _write_if_alike(lite_file, lite, pixels, theirs))


def _is_packaged(extractor: Extractor) -> bool:
    """Return whether to write without Keras: for the packaged network with its own weights, if Keras is not loaded."""
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
    features = joined_means([model.get_layer(layers[name]).output for name, _ in blocks])
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
    """Write the LiteRT network if it agrees with Keras; else return the reason why not."""
    apart = float(np.abs(LiteRTNetwork(lite)(pixels)[:, : theirs.shape[1]] - theirs).max())
    if not apart <= AGREEMENT:  # also if it is not a number
        return f"probabilities from LiteRT and Keras differ by {apart:.1g}, so the slower Keras will run this bundle"
    file.write_bytes(lite)
    return ""


def _save(model: Any, file: Path) -> None:
    """Save with Keras, whose temporary files lie beside the network, so that they go with it if the run is killed."""
    folder = file.with_name(TEMPORARY)
    folder.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        model.save(file)
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
