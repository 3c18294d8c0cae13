"""Decode and resize images once and keep them on disk, for training that needs their pixels in every epoch."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.errors import TlkitError
from tlkit.images.batches import load_image, load_images
from tlkit.images.read import READING_VERSION
from tlkit.progress import Progress, SilentProgress
from tlkit.store.records import RecordStore
from tlkit.store.shards import SHARD_BYTES, Record

FORMAT = 1
KEEP_EVERY = 256  # images per shard, fewer if they are large; a killed run loses at most one shard


@dataclass(frozen=True)
class Decoded:
    """Decoded images; their pixels stay on disk until they are needed.

    Close it when no more pixels are needed, or use it in a ``with`` statement.

    Attributes:
        size: (height, width) of all images, in pixels.
        rows: Indices of the readable images.
        contents: SHA-256 of each image's bytes as hex, in the order of the list; "" if unreadable.
        prints: Perceptual hash of each image, in the order of the list; empty if blank or unreadable.
        errors: Why an image could not be read, by index.
        reused: Number of images that were already decoded by an earlier run.
        problem: Why nothing could be kept on disk, so that pixels are held in memory; None: no problem.
        paths: The files, in the order of the list.
        store: The store of the pixels.
        memory: Pixels that could not be kept on disk, by content hash.
    """

    size: tuple[int, int]
    rows: tuple[int, ...]
    contents: tuple[str, ...]
    prints: tuple[bytes, ...]
    errors: dict[int, str]
    reused: int
    problem: str | None
    paths: tuple[Path, ...] = field(repr=False)
    store: RecordStore = field(repr=False)
    memory: dict[bytes, NDArray[np.uint8]] = field(repr=False)

    def pixels(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        """Return the pixels of some images without decoding them. Several threads may call it at once.

        A row that was damaged or removed in the meantime is decoded again from its file.

        Args:
            rows: Indices into the list of images, in any order; each must be in `Decoded.rows`.

        Returns:
            uint8 [n, height, width, 3], RGB, 0..255.

        Raises:
            TlkitError: A row is lost, and its file is gone or has changed.
            ValueError: A row is not that of a readable image, or `close` was called.
        """
        if self.store.closed:
            raise ValueError("the decoded images were closed")
        if any(not 0 <= row < len(self.contents) or not self.contents[row] for row in rows):
            raise ValueError("only images in `rows` have pixels")
        pixels = np.empty((len(rows), *self.size, 3), dtype=np.uint8)
        again: dict[bytes, NDArray[np.uint8]] = {}
        for place, row in enumerate(rows):
            content = bytes.fromhex(self.contents[row])
            kept = self._kept(content)
            if kept is None:
                kept = again[content] = again[content] if content in again else self._decode(row)
            pixels[place] = kept
        if again:
            _keep(self.store, self.memory, [(content, Record(image)) for content, image in again.items()])
            self.store.refresh()
            self.memory.update((content, image) for content, image in again.items() if self._kept(content) is None)
        return pixels

    def close(self) -> None:
        """Release the files, and keep the cache within its size limit."""
        if not self.store.closed:
            self.store.close()
            self.memory.clear()

    def __enter__(self) -> Decoded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _kept(self, content: bytes) -> NDArray[np.uint8] | None:
        if content in self.memory:
            return self.memory[content]
        record = self.store.get(content)
        return None if record is None else record.payload

    def _decode(self, row: int) -> NDArray[np.uint8]:
        path = self.paths[row]
        item = load_image(path, self.size)
        if item.image is None:
            raise TlkitError(f"cannot read {path} again: {item.error}", "do not move or delete images during a run")
        if item.content.hex() != self.contents[row]:
            raise TlkitError(f"{path} changed during the run", "start again")
        return item.image.pixels


def decode_all(
    paths: Sequence[Path],
    size: tuple[int, int],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    root: Path | None = None,
) -> Decoded:
    """Read every file once and decode the images that the cache does not hold; copies of a file are decoded once.

    Memory use does not grow with the number of images, unless the cache cannot be written.

    Args:
        paths: Image files.
        size: (height, width) in pixels to resize to.
        workers: Number of reading threads; None: one per processor.
        progress: Progress reporter.
        root: The cache folder; None: the user's.
    """
    store = image_store(size, root)
    try:
        return _decode_all(paths, size, workers, progress or SilentProgress(), store)
    except BaseException:
        store.close()
        raise


def image_store(size: tuple[int, int], root: Path | None = None) -> RecordStore:
    """Return the store of images of one (height, width), uint8 [height, width, 3]."""
    height, width = size
    key = {"height": height, "width": width, "reading": READING_VERSION}
    digest = hashlib.sha256(json.dumps([FORMAT, key], sort_keys=True).encode()).hexdigest()[:24]
    return RecordStore("images", f"{height}x{width}-{digest}", "|u1", (height, width, 3), key, root)


def _decode_all(
    paths: Sequence[Path], size: tuple[int, int], workers: int | None, progress: Progress, store: RecordStore
) -> Decoded:
    height, width = size
    keep_every = max(1, min(KEEP_EVERY, SHARD_BYTES // (height * width * 3)))
    lock = threading.Lock()
    claimed: set[bytes] = set()
    old: dict[bytes, bytes] = {}  # content hash to fingerprint
    new: dict[bytes, bytes] = {}
    broken: dict[bytes, str] = {}
    unread: dict[int, str] = {}
    memory: dict[bytes, NDArray[np.uint8]] = {}
    fresh: list[tuple[bytes, Record]] = []

    def wanted(content: bytes) -> bool:
        with lock:
            if content in claimed:  # a copy that is already decoded, or being decoded in another thread
                return False
            claimed.add(content)
        record = store.get(content)
        if record is not None:
            old[content] = record.fingerprint
        return record is None

    contents = [b""] * len(paths)
    try:
        with progress.phase("Decoding", len(paths)) as advance:
            for item in load_images(paths, size, workers=workers, wanted=wanted, fingerprints=True):
                contents[item.index] = item.content
                if item.image is not None:
                    new[item.content] = item.fingerprint
                    fresh.append((item.content, Record(item.image.pixels, item.fingerprint)))
                elif item.error is not None and item.content:
                    broken[item.content] = item.error
                elif item.error is not None:
                    unread[item.index] = item.error
                if len(fresh) >= keep_every:
                    _keep(store, memory, fresh)
                    fresh = []
                advance(1)
    finally:
        _keep(store, memory, fresh)  # also when interrupted, so that no work is lost
    store.refresh()
    errors = {
        index: unread.get(index) or broken[content]
        for index, content in enumerate(contents)
        if content in broken or index in unread
    }
    prints = {**old, **new}
    return Decoded(
        size=size,
        rows=tuple(index for index in range(len(paths)) if index not in errors),
        contents=tuple("" if index in errors else content.hex() for index, content in enumerate(contents)),
        prints=tuple(b"" if index in errors else prints[content] for index, content in enumerate(contents)),
        errors=errors,
        reused=sum(content in old for content in contents),
        problem=store.problem,
        paths=tuple(paths),
        store=store,
        memory=memory,
    )


def _keep(store: RecordStore, memory: dict[bytes, NDArray[np.uint8]], rows: list[tuple[bytes, Record]]) -> None:
    """Keep images on disk, or in memory if the disk cannot be written."""
    store.add(rows)
    if store.problem:
        memory.update((content, record.payload) for content, record in rows)
