"""Measure how fast a backbone is on this machine."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import batch_size
from tlkit.backbones.extractor import Extractor

TIMED = 8  # images to measure, one at a time


def latency(extractor: Extractor) -> float:
    """Return the seconds per image on one core, the median of a few."""
    forward = extractor.forward(1)
    pixels = np.zeros((1, extractor.input_size, extractor.input_size, 3), dtype=np.uint8)
    forward(pixels)
    times = []
    for _ in range(TIMED):
        start = time.perf_counter()
        forward(pixels)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


class TimedForward:
    """A frozen backbone's forward pass that measures its own speed.

    Args:
        extractor: The backbone.
        workers: Number of cores; None: all.
    """

    def __init__(self, extractor: Extractor, workers: int | None) -> None:
        self._forward = extractor.forward(workers)
        self._side = extractor.input_size
        self._began = False
        self._images, self._seconds = 0, 0.0

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run uint8 [n, h, w, 3] (RGB, 0..255) to float32 [n, columns]."""
        start = time.perf_counter()
        found = self._forward(pixels)
        if self._began:  # the first batch is slower
            self._images += len(pixels)
            self._seconds += time.perf_counter() - start
        self._began = True
        return found

    def speed(self) -> float:
        """Return images per second over all batches but the first; without such batches, run grey images."""
        while not self._images:
            self(np.full((batch_size(), self._side, self._side, 3), 127, dtype=np.uint8))
        return self._images / max(1e-6, self._seconds)
