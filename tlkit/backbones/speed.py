"""How fast a backbone is on this machine."""

from __future__ import annotations

import time

import numpy as np

from tlkit.backbones.extractor import Extractor

TIMED = 8  # pictures that speed is measured on, one at a time


def latency(extractor: Extractor) -> float:
    """Seconds a picture takes on one core, the median of a few."""
    forward = extractor.forward(1)
    pixels = np.zeros((1, extractor.input_size, extractor.input_size, 3), dtype=np.uint8)
    forward(pixels)
    times = []
    for _ in range(TIMED):
        start = time.perf_counter()
        forward(pixels)
        times.append(time.perf_counter() - start)
    return float(np.median(times))
