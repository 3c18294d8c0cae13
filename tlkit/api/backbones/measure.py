"""``tlkit backbones --measure``: how fast networks are on this machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from tlkit.backbones import catalog
from tlkit.backbones.engines import check_engine
from tlkit.backbones.extractor import open_extractor
from tlkit.backbones.speed import latency
from tlkit.plan.choices import AUTO, IMAGENET, RANDOM
from tlkit.progress import Progress, SilentProgress


def measure(
    names: Sequence[str], *, engine: str = AUTO, progress: Progress | None = None
) -> dict[str, tuple[float, str]]:
    """Time backbones on images of their own input size, one image at a time.

    Speed does not depend on the values of the weights: networks without weights on this machine get random ones, which
    are not kept.

    Args:
        names: Catalogue names.
        engine: "auto", "litert" or "keras".
        progress: Progress reporter.

    Returns:
        (milliseconds per image, engine) by name. LiteRT runs on one core, Keras on all.

    Raises:
        TlkitError: The engine is not installed.
    """
    check_engine(engine)
    found = {}
    with (progress or SilentProgress()).phase("Measuring", len(names)) as advance:
        for name in names:
            advance(0, name)
            here = catalog.is_here(catalog.get(name))
            extractor = open_extractor(name, weights=IMAGENET if here else RANDOM, engine=engine, keep=here)
            found[name] = (1000 * latency(extractor), extractor.engine)
            del extractor
            _forget()
            advance(1)
    return found


def _forget() -> None:
    """Free a network's memory before the next is built."""
    if (keras := sys.modules.get("keras")) is not None:
        keras.backend.clear_session()
    gc.collect()
