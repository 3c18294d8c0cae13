"""Collect the facts of image files, reading each file once."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tlkit.images.batches import Loaded, cpu_count, load_image
from tlkit.images.budget import decoding
from tlkit.images.opening import TOO_LARGE
from tlkit.images.quality import Quality, qualities_of
from tlkit.images.read import suffix_matches
from tlkit.remote import THREADS, RemotePath, is_remote, stamp_of

SIZE = (96, 96)  # size in pixels that images are reduced to if no network needs them
SMALL = 100_000  # bytes
LONGEST = 2048  # pixels of a side; a small file may still hold a large image
SHARE = 96 << 20  # bytes that all processes together may take for decoding; the first one takes what is larger
CHUNK = 64  # files that a process takes at a time


@dataclass(frozen=True)
class Facts:
    """The facts of one file.

    Attributes:
        content: SHA-256 of its bytes as hex; "" if unreadable.
        error: Why it cannot be read, or None.
        format: Its actual format, such as "JPEG"; "" if unreadable.
        fits_suffix: Whether the file's extension matches its format.
        mode: Pillow mode of the stored pixels, such as "RGB".
        width: Width in pixels, after EXIF rotation.
        height: Height in pixels, after EXIF rotation.
        fingerprint: Perceptual hash; empty for a blank image.
        quality: How it looks; None for a blank image.
    """

    content: str
    error: str | None
    format: str = ""
    fits_suffix: bool = True
    mode: str = ""
    width: int = 0
    height: int = 0
    fingerprint: bytes = b""
    quality: Quality | None = None

    @property
    def blank(self) -> bool:
        """Whether the image is blank."""
        return self.error is None and not self.fingerprint


def facts_of(path: Path | str, item: Loaded) -> Facts:
    """Return the facts of a file that was read and decoded with its fingerprint."""
    return _measured([_plain_facts(path, item)], [item.grey])[0]


def _measured(facts: Sequence[Facts], greys: Sequence[bytes]) -> list[Facts]:
    """Add to facts how the images look that are not blank."""
    shown = [(number, grey) for number, grey in enumerate(greys) if grey and facts[number].fingerprint]
    found = list(facts)
    if shown:
        for (number, _), quality in zip(shown, qualities_of([grey for _, grey in shown]), strict=True):
            found[number] = replace(facts[number], quality=quality)
    return found


def _plain_facts(path: Path | str, item: Loaded) -> Facts:
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
    """Start the processes for `examine` in advance, since starting them takes half a second."""
    _pool(workers)


def examine(paths: Sequence[Path], workers: int | None = None) -> Iterator[Facts]:
    """Yield the facts of many files, in order, reading each once.

    Reading small images spends much of its time in Python code, which needs processes to run in parallel. They are
    loky's, which, unlike the standard library's, also work in a script without a main guard.
    """
    if any(map(is_remote, paths)):
        yield from _examine_remote(paths)
        return
    names = [str(path) for path in paths]  # cheaper to send than paths
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    if len(chunks) < 2 or workers == 1:
        for chunk in chunks:
            yield from _examine(chunk)
        return
    places = iter(paths)
    share = SHARE // (workers or cpu_count())
    for found in _pool(workers).map(partial(_examine, memory=share), chunks):
        for fact, path in zip(found, places, strict=False):
            is_large = fact.error is not None and fact.error.startswith(TOO_LARGE)
            yield facts_of(path, _load(path)) if is_large else fact


def _examine_remote(paths: Sequence[Path]) -> Iterator[Facts]:
    """Yield the facts of files in object stores, which threads wait for."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="tlkit-read") as pool:
        pending: deque[Future[Facts]] = deque()
        try:
            for path in paths:
                pending.append(pool.submit(lambda place: facts_of(place, _load(place)), path))
                if len(pending) == 2 * THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _pool(workers: int | None) -> Any:
    """Return running processes that ignore interrupts; otherwise each of them would print a traceback."""
    from loky import get_reusable_executor

    pool = get_reusable_executor(max_workers=workers or cpu_count())
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited by the processes started now
    except ValueError:  # only the main thread may do this, and only it receives interrupts
        return pool
    try:
        pool.submit(_examine, [])
    finally:
        signal.signal(signal.SIGINT, before)
    return pool


def _examine(names: Sequence[str], memory: int | None = None) -> list[Facts]:
    """Return the facts of files, in a process that has so much memory for decoding; None: as before."""
    if memory is not None:
        decoding.total = memory
    facts, greys = [], []
    for name in names:
        item = _load(name)  # the image itself is not kept
        facts.append(_plain_facts(name, item))
        greys.append(item.grey)
    return _measured(facts, greys)


def _load(path: Path | str) -> Loaded:
    size = _size_for(path)
    return load_image(path, size, within=None if size else LONGEST, fingerprints=True)


def _size_for(path: Path | str) -> tuple[int, int] | None:
    """Return `SIZE` for a large file, None for a small one: there, resampling would cost more than it saves."""
    if isinstance(path, RemotePath):
        its = stamp_of(path)
        return SIZE if its is not None and its[0] > SMALL else None
    try:
        return SIZE if os.stat(path).st_size > SMALL else None  # noqa: PTH116  (faster)
    except OSError:
        return None
