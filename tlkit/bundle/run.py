"""Run a bundle over picture files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import AUTO, batch_size
from tlkit.bundle.load import Bundle
from tlkit.images.batches import Loaded, load_batches

Answer = tuple[Loaded, NDArray[np.float32] | None]


def answers(
    paths: Sequence[Path],
    bundle: Bundle,
    *,
    engine: str = AUTO,
    workers: int | None = None,
    fingerprints: bool = False,
) -> Iterator[Answer]:
    """Each picture in order with its probabilities, float32 [classes], or None where it cannot be read.

    Pictures are decoded by threads while others are computed; what is ready is passed on, and memory does not grow
    with their number.

    Args:
        paths: The files.
        bundle: What answers.
        engine: "auto", "litert" or "keras".
        workers: Reading threads, and cores to compute with at most; None: all.
        fingerprints: Also compute the perceptual hash of what is read.

    Raises:
        TlkitError: The engine is not there.
    """
    forward = bundle.forward(engine, len(paths), workers)
    most = batch_size()
    for batch in load_batches(
        paths, bundle.input_size, most, workers=workers, ahead=3 * most, fingerprints=fingerprints
    ):
        pixels = [item.picture.pixels for item in batch if item.picture is not None]
        rows = iter(forward(np.stack(pixels)) if pixels else ())
        for item in batch:
            yield item, next(rows) if item.picture is not None else None
