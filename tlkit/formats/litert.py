"""Write a network for LiteRT, MediaPipe and LiteRT.js, and run one."""

from __future__ import annotations

from pathlib import Path

from tlkit.backbones.engines import Forward, LiteRTNetwork
from tlkit.formats import quantise
from tlkit.formats.source import FP16, INT8, Source
from tlkit.formats.tflite_metadata import with_metadata


def write_litert(file: Path, source: Source) -> None:
    """Write a ``.tflite`` file with one output, the probabilities, and with TFLite metadata.

    Raises:
        TlkitError: The bundle has no ``model.tflite``, or int8 is wanted and there are no images to calibrate it with.
    """
    network = source.lite_network
    if source.precision == FP16:
        network = quantise.with_float16_weights(network)
    elif source.precision == INT8:
        network = quantise.in_int8(network, source.calibration)
    file.write_bytes(with_metadata(network, source.card))


def litert_forward(file: Path) -> Forward:
    """Return a ``.tflite`` file as a function from uint8 [n, h, w, 3] to probabilities, float32 [n, classes]."""
    return LiteRTNetwork(file)
