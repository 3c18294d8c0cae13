"""What ``tlkit backbones --measure`` does: how fast networks are on this machine."""

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

    Speed does not depend on what the weights are: networks without weights on this machine get random ones, and nothing
    of those is kept.

    Args:
        names: Of catalogue rows.
        engine: "auto", "litert" or "keras".
        progress: Told about each network.

    Returns:
        By name (milliseconds an image, the engine that ran it). LiteRT runs on one core, Keras on all.

    Raises:
        TlkitError: There is no such engine here.
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
    """Give a network's memory back before the next is built."""
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
    gc.collect()
