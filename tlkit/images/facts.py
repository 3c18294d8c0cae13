"""What one look at an image file says about it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.images.batches import Loaded, cpu_count, load_image
from tlkit.images.read import suffix_matches

SIZE = (96, 96)  # what images are shrunk to where no network needs them
SMALL = 100_000  # bytes
CHUNK = 64  # files a process takes at a time


@dataclass(frozen=True)
class Facts:
    """What is known of one file.

    Attributes:
        content: SHA-256 of its bytes as hex; "" if unreadable.
        error: Why it cannot be read, or None.
        format: What it really is, such as "JPEG"; "" if unreadable.
        fits_suffix: Whether the name's extension says so too.
        mode: Pillow's name of how pixels are stored, such as "RGB".
        width: In pixels, as shown.
        height: Likewise.
        fingerprint: Perceptual hash; empty for an image that shows nothing.
    """

    content: str
    error: str | None
    format: str = ""
    fits_suffix: bool = True
    mode: str = ""
    width: int = 0
    height: int = 0
    fingerprint: bytes = b""

    @property
    def blank(self) -> bool:
        """Whether the image shows nothing."""
        return self.error is None and not self.fingerprint


def facts_of(path: Path, item: Loaded) -> Facts:
    """Facts of a file that was read and decoded with its fingerprint."""
    if item.image is None:
        return Facts(content="", error=item.error or "cannot be read")
    image = item.image
    return Facts(
        content=item.content.hex(),
        error=None,
        format=image.format,
        fits_suffix=suffix_matches(path, image.format),
        mode=image.mode,
        width=image.width,
        height=image.height,
        fingerprint=item.fingerprint,
    )


def start_examining(workers: int | None = None) -> None:
    """Start the processes `examine` will use, which takes half a second, while something else is being done."""
    _pool(workers)


def examine(paths: Sequence[Path], workers: int | None = None) -> Iterator[Facts]:
    """Facts of many files, in order, each read once.

    Small images spend much of their time in Python code, which threads cannot share; processes can. They are
    loky's: unlike the standard library's, they work from a script without a main guard.
    """
    names = [str(path) for path in paths]  # cheaper to send than paths
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    if len(chunks) < 2 or workers == 1:
        for chunk in chunks:
            yield from _examine(chunk)
        return
    for found in _pool(workers).map(_examine, chunks):
        yield from found


def _pool(workers: int | None) -> Any:
    """Processes that are running and leave an interrupt to this one: they would each show a traceback."""
    from loky import get_reusable_executor

    pool = get_reusable_executor(max_workers=workers or cpu_count())
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited by what is started now
    except ValueError:  # only the main thread may do this, and only it is interrupted
        return pool
    try:
        pool.submit(_examine, [])
    finally:
        signal.signal(signal.SIGINT, before)
    return pool


def _examine(names: Sequence[str]) -> list[Facts]:
    paths = [Path(name) for name in names]
    return [facts_of(path, load_image(path, _size_for(path), fingerprints=True)) for path in paths]


def _size_for(path: Path) -> tuple[int, int] | None:
    """Large files are decoded at a reduced scale; for small ones resampling would cost more than it saves."""
    try:
        return SIZE if path.stat().st_size > SMALL else None
    except OSError:
        return None
