"""One forward pass of a frozen backbone: pooled features of every stage and of the top."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import Forward, batch_size
from tlkit.backbones.extractor import TOP, Extractor, columns_of
from tlkit.images.batches import Loaded, load_image, load_images
from tlkit.images.read import READING_VERSION
from tlkit.progress import Progress, SilentProgress
from tlkit.store.features import FeatureKey, FeatureStore, SpareStore, Stored, rounded

KEEP_EVERY, KEEP_SECONDS = 512, 10.0  # images a shard, and seconds between two: what a killed run may lose

NOT_FINITE = "the network gives no finite features for it"

Store = FeatureStore | SpareStore


@dataclass(frozen=True)
class Features:
    """Pooled features of a list of images.

    Attributes:
        matrix: float32 [readable images, columns], rows in the order of ``rows``.
        rows: Index into the list of images for each row of ``matrix``.
        contents: SHA-256 of each image's bytes as hex, in the order of the list; "" where unreadable.
        prints: Perceptual hash of each image, in the order of the list; empty where blank or unreadable.
        errors: Why an image could not be read, by its index.
        taps: (name, width) of the column blocks in ``matrix``.
        reused: How many rows came from the store.
        problem: Why nothing was kept on disk, if so.
    """

    matrix: NDArray[np.float32]
    rows: tuple[int, ...]
    contents: tuple[str, ...]
    prints: tuple[bytes, ...]
    errors: dict[int, str]
    taps: tuple[tuple[str, int], ...]
    reused: int
    problem: str | None = None


def feature_key(extractor: Extractor) -> FeatureKey:
    """What the stored vectors of this backbone depend on. Not on the engine: they agree."""
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
    """Pooled features of all readable images: each is read once, and computed only if the store lacks it.

    Args:
        paths: Image files.
        extractor: The frozen backbone.
        taps: Which blocks the result holds: stage names and "top".
        store: Where vectors are looked up and kept; None: nowhere.
        workers: Reading threads; None: one a processor.
        progress: Told about every image.
        observe: Called with every image once it is read, in order. Given, all are decoded, also those whose
            features are in the store.
    """
    key = feature_key(extractor)
    columns = columns_of(key.taps, taps)
    matrix = np.empty((len(paths), len(columns)), dtype=np.float32)
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
        matrix = matrix[list(rows)]
    return Features(
        matrix=matrix,
        rows=rows,
        contents=tuple(contents),
        prints=tuple(prints),
        errors=errors,
        taps=tuple(tap for tap in key.taps if tap[0] in taps),
        reused=reused,
        problem=store.problem if store else None,
    )


def each_feature(
    paths: Sequence[Path],
    extractor: Extractor,
    *,
    store: Store | None = None,
    workers: int | None = None,
    decode_all: bool = False,
) -> Generator[tuple[Loaded, Stored | None, bool], None, None]:
    """Each image in order with what is known of it, and whether that is new.

    None is known where an image cannot be read, which its row says, or the network gives no finite numbers.

    Memory does not grow with the number of images. New rows are kept every `KEEP_EVERY` images and `KEEP_SECONDS`,
    and when the iterator is closed or left by an exception.

    Args:
        paths: Image files.
        extractor: The frozen backbone.
        store: Where vectors are looked up and kept; None: nowhere.
        workers: Reading threads, and cores to compute with at most; None: one a processor.
        decode_all: Also decode images whose features are in the store.
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
                its = stored or new.get(item.index)
                if its is not None and not np.isfinite(its.vector).all():
                    its = None
                yield item, its, its is not None and item.index in new
            if len(unsaved) >= KEEP_EVERY or time.monotonic() - kept >= KEEP_SECONDS:
                keep()
                kept = time.monotonic()
    finally:
        keep()  # also when interrupted: what is done stays done


def _batches(
    images: Iterator[Loaded], store: Store | None, again: Callable[[int], Loaded]
) -> Iterator[list[tuple[Loaded, Stored | None]]]:
    """Groups with at most `batch_size` images to compute in each; what the store has rides along.

    Args:
        images: Undecoded where the store had them.
        store: Where that was looked up.
        again: Decodes the image of an index: the store may have lost it in the meantime.
    """
    most = batch_size()
    batch: list[tuple[Loaded, Stored | None]] = []
    fresh = 0
    for item in images:
        stored = store.get(item.content) if store is not None and item.error is None else None
        if stored is None and item.image is None and item.error is None:
            item = again(item.index)
        batch.append((item, stored))
        fresh += stored is None and item.image is not None
        if fresh == most or len(batch) == 16 * most:
            yield batch
            batch, fresh = [], 0
    if batch:
        yield batch
