"""Read many image files with threads that read, hash and decode ahead of the consumer."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tlkit.images.duplicates import fingerprint_and_grey
from tlkit.images.given import GivenImage
from tlkit.images.opening import opened_file
from tlkit.images.read import ReadImage, UnreadableImage, read_details
from tlkit.images.refused import RefusedError
from tlkit.remote import THREADS, is_remote

RETRY_SECONDS = 0.2
MAX_BYTES = 1 << 30  # bytes of a file; no image that is decoded needs more
IN_MEMORY = 16 << 20  # bytes; a larger file is hashed and decoded from disk


@dataclass(frozen=True)
class Loaded:
    """The result of reading one file.

    Attributes:
        index: Position in the list of paths.
        content: SHA-256 of the file's bytes, 32 bytes (in memory: `GivenImage.content`); empty if it could not be read
            at all.
        image: The decoded image, or None if decoding was not wanted or failed.
        error: Why the image could not be read, or None.
        fingerprint: Perceptual hash if requested, else empty.
        grey: The small grey image that it was computed from, see `fingerprint_and_grey`, else empty.
    """

    index: int
    content: bytes
    image: ReadImage | None
    error: str | None
    fingerprint: bytes = b""
    grey: bytes = b""


def cpu_count() -> int:
    """Return the number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def read_file(path: Path | str) -> tuple[bytes, bytes | Path | str]:
    """Return the SHA-256 of a file, and what to decode: its bytes or, if they are many, its path.

    A failed read is tried once more, for the sake of network drives.

    Raises:
        UnreadableImage: The file cannot be read, is not a regular file, or is larger than `MAX_BYTES`.
    """
    if is_remote(path):
        return _fetched(path)
    try:
        return _hashed(path)
    except (OSError, RefusedError):
        time.sleep(RETRY_SECONDS)
    try:
        return _hashed(path)
    except RefusedError as error:
        raise UnreadableImage(error.reason, str(path)) from None
    except OSError as error:
        raise UnreadableImage((error.strerror or "cannot be read").lower(), str(path)) from None


def _fetched(path: Path | str) -> tuple[bytes, bytes]:
    """Read a file in an object store; failed requests were repeated."""
    try:
        with opened_file(path) as file:
            data = file.read()
    except RefusedError as error:
        raise UnreadableImage(error.reason, str(path)) from None
    if len(data) > MAX_BYTES:
        raise UnreadableImage("too large: more than 1 GiB", str(path))
    return hashlib.sha256(data).digest(), data


def _hashed(path: Path | str) -> tuple[bytes, bytes | Path | str]:
    with opened_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise RefusedError("too large: more than 1 GiB")
        # by the file's size: read(IN_MEMORY) would allocate megabytes first, which takes longer than reading
        most = min(IN_MEMORY, MAX_BYTES)
        expected = min(size, most)
        data = file.read(expected + 1)
        if len(data) <= expected:
            return hashlib.sha256(data).digest(), data
        # large, or its file system does not report sizes
        data += file.read(most + 1 - len(data))
        digest, count = hashlib.sha256(data), len(data)
        if count <= most:
            return digest.digest(), data
        while (block := file.read(1 << 20)) and count <= MAX_BYTES:
            digest.update(block)
            count += len(block)
    if count > MAX_BYTES:
        raise RefusedError("too large: more than 1 GiB")
    return digest.digest(), path


def load_image(
    path: Path | str | GivenImage,
    size: tuple[int, int] | None,
    *,
    within: int | None = None,
    index: int = 0,
    wanted: Callable[[bytes], bool] | None = None,
    fingerprints: bool = False,
) -> Loaded:
    """Read one image file, or one in memory; errors are returned in the result. See `load_images` for the arguments.

    Instead of a size, ``within`` gives the longest side that the image may keep.
    """
    content = b""
    try:
        if isinstance(path, GivenImage):
            content, read = path.content(), path.read
        else:
            content, data = read_file(path)
            read = partial(read_details, data, name=str(path), count_frames=False)
        if wanted is not None and not wanted(content):
            return Loaded(index, content, None, None)
        image = read(size, within=within)
        mark, grey = fingerprint_and_grey(image.pixels) if fingerprints else (b"", b"")
        return Loaded(index, content, image, None, mark, grey)
    except UnreadableImage as error:
        return Loaded(index, content, None, error.reason)


def load_images(
    paths: Sequence[Path | GivenImage],
    size: tuple[int, int] | None,
    *,
    workers: int | None = None,
    ahead: int = 64,
    wanted: Callable[[bytes], bool] | None = None,
    fingerprints: bool = False,
) -> Iterator[Loaded]:
    """Read images with threads and yield them in order, never holding more than ``ahead``.

    Files in object stores are waited for by many threads at once.

    Args:
        paths: Files to read, each once, or images in memory.
        size: (height, width) in pixels to resize to, None for full size.
        workers: Number of reading threads; None: one per processor.
        ahead: Maximum number of images in progress or waiting.
        wanted: Called with the content hash, in the reading threads; if it returns False, the image is not decoded.
        fingerprints: Also compute the perceptual hash of each decoded image, in the reading threads.
    """
    options: Any = {"workers": workers, "ahead": ahead, "wanted": wanted, "fingerprints": fingerprints}
    for batch in load_batches(paths, size, 1, **options):
        yield from batch


def load_batches(
    paths: Sequence[Path | GivenImage],
    size: tuple[int, int] | None,
    max_images: int,
    *,
    workers: int | None = None,
    ahead: int = 64,
    wanted: Callable[[bytes], bool] | None = None,
    fingerprints: bool = False,
) -> Iterator[list[Loaded]]:
    """Read images as `load_images` does, but yield those that are ready together, at most ``max_images`` at a time."""

    def work(index: int) -> Loaded:
        return load_image(paths[index], size, index=index, wanted=wanted, fingerprints=fingerprints)

    threads = workers or cpu_count()
    if any(map(is_remote, paths)):
        threads = max(threads, THREADS)
        ahead = max(ahead, 2 * threads)
    with ThreadPoolExecutor(threads, thread_name_prefix="tlkit-read") as pool:
        pending: deque[Future[Loaded]] = deque()
        rest = iter(range(len(paths)))
        try:
            while True:
                while len(pending) < ahead and (index := next(rest, None)) is not None:
                    pending.append(pool.submit(work, index))
                if not pending:
                    return
                batch = [pending.popleft().result()]
                while pending and len(batch) < max_images and pending[0].done():
                    batch.append(pending.popleft().result())
                yield batch
        finally:
            for future in pending:
                future.cancel()
