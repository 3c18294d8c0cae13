"""Write a network for LiteRT, and run one."""

from __future__ import annotations

from pathlib import Path

from tlkit.backbones.engines import Forward, LiteRTNetwork
from tlkit.formats.source import Source


def write_litert(file: Path, source: Source) -> None:
    """Write a ``.tflite`` file with one output, the probabilities.

    Raises:
        TlkitError: The bundle has no ``model.tflite``.
    """
    file.write_bytes(source.lite_network)


def litert_forward(file: Path) -> Forward:
    """Return a ``.tflite`` file as a function from uint8 [n, h, w, 3] to probabilities, float32 [n, classes]."""
    return LiteRTNetwork(file)
