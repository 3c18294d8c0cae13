"""Compute pooled features of every stage and of the top in one forward pass of a frozen backbone."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkit.backbones.engines import Forward, batch_size
from tlkit.backbones.extractor import TOP, Extractor, columns_of
from tlkit.images.batches import Loaded, load_image, load_images
from tlkit.images.given import GivenImage
from tlkit.images.read import READING_VERSION
from tlkit.memory import in_words, usable_memory
from tlkit.progress import Progress, SilentProgress
from tlkit.store.disk_matrix import DiskMatrix, Vectors, part_of
from tlkit.store.features import FeatureKey, FeatureStore, SpareStore, Stored, rounded

KEEP_EVERY, KEEP_SECONDS = 512, 10.0  # images per shard, seconds between shards; a killed run loses at most that

COPIES, ALWAYS = 3, 256 << 20  # of the features that solving a head needs; bytes that always fit

NOT_FINITE = "its features are not finite numbers"

Store = FeatureStore | SpareStore


@dataclass(frozen=True)
class Features:
    """Pooled features of a list of images.

    Attributes:
        matrix: float32 [readable images, columns], with rows in the order of ``rows``; in a file if memory is short.
        rows: Index into the list of images for each row of ``matrix``.
        contents: SHA-256 of each image's bytes as hex, in the order of the list; "" if unreadable.
        prints: Perceptual hash of each image, in the order of the list; empty if blank or unreadable.
        errors: Why an image could not be read, by index.
        taps: (name, width) of the column blocks in ``matrix``.
        reused: Number of rows that came from the store.
        problem: Why nothing could be kept on disk, or None.
    """

    matrix: Vectors
    rows: tuple[int, ...]
    contents: tuple[str, ...]
    prints: tuple[bytes, ...]
    errors: dict[int, str]
    taps: tuple[tuple[str, int], ...]
    reused: int
    problem: str | None = None


def feature_key(extractor: Extractor) -> FeatureKey:
    """Return what the stored vectors of this backbone depend on. The engine is not part of it: engines agree."""
    size = extractor.input_size
    return FeatureKey(extractor.backbone.key, extractor.weights_hash, size, size, READING_VERSION, extractor.taps)


def compute_features(
    paths: Sequence[Path],
    extractor: Extractor,
    *,
    taps: Sequence[str] = (TOP,),
    store: Store | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    observe: Callable[[Loaded], None] | None = None,
) -> Features:
    """Return pooled features of all readable images. Each is read once, and computed only if the store lacks it.

    Args:
        paths: Image files.
        extractor: The frozen backbone.
        taps: Blocks of the result: stage names and "top".
        store: Store where vectors are looked up and kept; None: no store.
        workers: Number of reading threads; None: one per processor.
        progress: Progress reporter.
        observe: Called with every image after it is read, in order. If given, all images are decoded, even those with
            features in the store.
    """
    key = feature_key(extractor)
    columns = columns_of(key.taps, taps)
    matrix = _room_for(len(paths), len(columns), progress)
    contents = [""] * len(paths)
    prints = [b""] * len(paths)
    errors: dict[int, str] = {}
    reused = 0
    passed = each_feature(paths, extractor, store=store, workers=workers, decode_all=observe is not None)
    with (progress or SilentProgress()).phase(f"Features ({extractor.backbone.name})", len(paths)) as advance:
        for item, stored, new in passed:
            if observe is not None:
                observe(item)
            if stored is None:
                errors[item.index] = item.error or NOT_FINITE
            else:
                contents[item.index] = item.content.hex()
                prints[item.index] = stored.fingerprint
                matrix[item.index] = stored.vector[columns]
                reused += not new
            advance(1)
    rows = tuple(index for index in range(len(paths)) if index not in errors)
    if errors:
        matrix = part_of(matrix, rows)
    return Features(
        matrix=matrix,
        rows=rows,
        contents=tuple(contents),
        prints=tuple(prints),
        errors=errors,
        taps=tuple(tap for tap in key.taps if tap[0] in taps),
        reused=reused,
        problem=None if store is None else store.problem,
    )


def _room_for(rows: int, columns: int, progress: Progress | None) -> Vectors:
    """Return a matrix to fill: in memory, or in a file if what is made of it would not fit, which is said."""
    needed = 4 * COPIES * rows * columns
    if needed < ALWAYS or needed <= (free := usable_memory()):
        return np.empty((rows, columns), dtype=np.float32)
    if progress is not None:
        progress.note(
            f"the features are kept in a file: they need {in_words(needed)} of memory, and {in_words(free)} may be used"
        )
    return DiskMatrix(rows, columns)


def each_feature(
    paths: Sequence[Path | GivenImage],
    extractor: Extractor,
    *,
    store: Store | None = None,
    workers: int | None = None,
    decode_all: bool = False,
) -> Generator[tuple[Loaded, Stored | None, bool], None, None]:
    """Yield (image, its data, whether the data is new) for each image, in order.

    The data is None if the image cannot be read (see its ``error``) or the features are not finite.

    Memory use does not grow with the number of images. New rows are kept every `KEEP_EVERY` images or `KEEP_SECONDS`,
    and when the generator is closed or left by an exception.

    Args:
        paths: Image files, or images in memory.
        extractor: The frozen backbone.
        store: Store where vectors are looked up and kept; None: no store.
        workers: Number of reading threads, and maximum number of cores to compute with; None: one per processor.
        decode_all: Whether to decode images even if their features are in the store.
    """
    lookup = store.get if store is not None else lambda _: None
    size = (extractor.input_size, extractor.input_size)
    images = load_images(
        paths,
        size,
        workers=workers,
        ahead=3 * batch_size(),
        wanted=None if decode_all else lambda content: lookup(content) is None,
        fingerprints=True,
    )
    forward: Forward | None = None
    unsaved: list[tuple[bytes, Stored]] = []
    kept = time.monotonic()

    def keep() -> None:
        if store is not None:
            store.add(unsaved)
        unsaved.clear()

    try:
        for batch in _batches(
            images, store, lambda index: load_image(paths[index], size, index=index, fingerprints=True)
        ):
            fresh = [(item, item.image) for item, stored in batch if stored is None and item.image is not None]
            new: dict[int, Stored] = {}
            if fresh:
                forward = forward or extractor.forward(workers)
                vectors = rounded(forward(np.stack([image.pixels for _, image in fresh])))
                for (item, _), vector in zip(fresh, vectors, strict=True):
                    new[item.index] = Stored(vector, item.fingerprint)
                    unsaved.append((item.content, new[item.index]))
            for item, stored in batch:
                data = stored or new.get(item.index)
                if data is not None and not np.isfinite(data.vector).all():
                    data = None
                yield item, data, data is not None and item.index in new
            if len(unsaved) >= KEEP_EVERY or time.monotonic() - kept >= KEEP_SECONDS:
                keep()
                kept = time.monotonic()
    finally:
        keep()  # also when interrupted, so that no work is lost


def _batches(
    images: Iterator[Loaded], store: Store | None, again: Callable[[int], Loaded]
) -> Iterator[list[tuple[Loaded, Stored | None]]]:
    """Yield groups of images with at most `batch_size` to compute in each; stored ones are added to the groups.

    Args:
        images: The images; those that were in the store are not decoded.
        store: The store.
        again: Decodes the image with an index, in case the store has lost it in the meantime.
    """
    max_fresh = batch_size()
    batch: list[tuple[Loaded, Stored | None]] = []
    fresh = 0
    for item in images:
        stored = store.get(item.content) if store is not None and item.error is None else None
        if stored is None and item.image is None and item.error is None:
            item = again(item.index)
        batch.append((item, stored))
        fresh += stored is None and item.image is not None
        if fresh == max_fresh or len(batch) == 16 * max_fresh:
            yield batch
            batch, fresh = [], 0
    if batch:
        yield batch
