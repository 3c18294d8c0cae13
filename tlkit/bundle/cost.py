"""What a bundle costs to run: size and time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from tlkit.bundle.load import Bundle
from tlkit.bundle.manifest import LITE, MODEL
from tlkit.plan.choices import AUTO

RUNS = 15  # of each bundle


def network_size(bundle: Bundle) -> int:
    """Return the bytes of the network that predicts on a CPU."""
    file = LITE if LITE in bundle.manifest["files"] else MODEL
    return (bundle.path / file).stat().st_size


def latencies(bundles: Sequence[Bundle], engine: str = AUTO) -> list[float]:
    """Return the seconds that each bundle takes for one image, the median of `RUNS`.

    LiteRT runs on one core. The bundles take turns, so that other work on the machine slows all of them alike.

    Args:
        bundles: The bundles.
        engine: "auto", "litert" or "keras".

    Raises:
        TlkitError: The engine is not available.
    """
    networks = [(each.forward(engine, 1, 1), np.full((1, *each.input_size, 3), 127, np.uint8)) for each in bundles]
    for forward, pixels in networks:
        forward(pixels)  # the first run is slower
    times: list[list[float]] = [[] for _ in bundles]
    for _ in range(RUNS):
        for (forward, pixels), taken in zip(networks, times, strict=True):
            start = time.perf_counter()
            forward(pixels)
            taken.append(time.perf_counter() - start)
    return [float(np.median(each)) for each in times]
