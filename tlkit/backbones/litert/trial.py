"""LiteRT tried in a process of its own, for networks with operators that `verify` does not know.

A crash then ends only that process. What went well is noted in the cache, so that it is tried once for each file.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from tlkit.backbones.litert.conversions import SECTION
from tlkit.store.bound import cache_folder
from tlkit.store.marker import NOTE, is_entry, make_entry, unfinished

LIMIT = 60.0  # seconds
_TRY = "import sys; from tlkit.backbones.litert.trial import run; run(sys.argv[1])"


def try_once(file: Path, digest: str) -> None:
    """Run a network on one black image in another process, unless that was done before.

    Args:
        file: The network.
        digest: Its SHA-256 in hex.

    Raises:
        ValueError: LiteRT crashes on it, or takes longer than `LIMIT`.
    """
    entry = cache_folder() / SECTION / f"tried-{digest[:32]}"
    if is_entry(entry):
        return
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"LiteRT takes over {LIMIT:.0f} s for one image") from None
    if done.returncode < 0 or done.returncode > 1:  # what LiteRT refuses, it refuses here too
        raise ValueError("LiteRT crashes on it")
    with contextlib.suppress(OSError):  # another process was first, or the cache cannot be written
        part = unfinished(entry)
        try:
            make_entry(entry, part)
            (part / NOTE).write_text(json.dumps({"network": digest}, indent=1), encoding="utf-8")
            part.rename(entry)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def run(file: str) -> None:
    """Run a network on one black image; in the process that may crash."""
    import numpy as np

    from tlkit.backbones.engines import LiteRTNetwork

    sides: list[int] = []
    network = LiteRTNetwork(Path(file), 1, 1, lambda taken, _: sides.extend(taken))
    network(np.zeros((1, *sides[1:]), np.uint8))
