"""Many files to arrays: threads that read, hash and decode ahead of whoever uses the pixels."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.images.read import UnreadableImage, read_image

RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Loaded:
    """One file after reading.

    Attributes:
        index: Position in the list of paths.
        content: SHA-256 of the file's bytes, 32 bytes; empty if the file could not be read at all.
        pixels: uint8 [height, width, 3], or None if decoding was not wanted or failed.
        error: Why the picture could not be read, or None.
    """

    index: int
    content: bytes
    pixels: NDArray[np.uint8] | None
    error: str | None


def cpu_count() -> int:
    """Processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def read_bytes(path: Path) -> bytes:
    """The file's bytes; a failing read is tried once more, as network drives hiccup.

    Raises:
        UnreadableImage: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError:
        time.sleep(RETRY_SECONDS)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage((error.strerror or "cannot be read").lower()) from None


def load_pictures(
    paths: Sequence[Path],
    size: tuple[int, int] | None,
    *,
    workers: int | None = None,
    ahead: int = 64,
    wanted: Callable[[bytes], bool] | None = None,
) -> Iterator[Loaded]:
    """Read pictures with threads and yield them in order, never holding more than ``ahead``.

    Args:
        paths: Files to read; each is read once.
        size: (height, width) in pixels to resize to, None for full size.
        workers: Reading threads; None: one a processor.
        ahead: How many pictures may be under way or waiting.
        wanted: Called with the content hash (in the reading threads); False leaves the picture undecoded.
    """

    def work(index: int) -> Loaded:
        content = b""
        try:
            data = read_bytes(paths[index])
            content = hashlib.sha256(data).digest()
            if wanted is not None and not wanted(content):
                return Loaded(index, content, None, None)
            return Loaded(index, content, read_image(data, size), None)
        except UnreadableImage as error:
            return Loaded(index, content, None, error.reason)

    with ThreadPoolExecutor(workers or cpu_count(), thread_name_prefix="tlkit-read") as pool:
        pending: deque[Future[Loaded]] = deque()
        try:
            for index in range(len(paths)):
                pending.append(pool.submit(work, index))
                if len(pending) >= ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
