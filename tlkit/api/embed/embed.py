"""``tlkit.embed``: one vector per image, the pooled features of a frozen network."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.embed.source import Source, open_source
from tlkit.api.inputs import PathLike, find_images
from tlkit.api.table_options import FileOptions
from tlkit.api.train.keywords import documented
from tlkit.backbones.extractor import columns_of
from tlkit.backbones.features import NOT_FINITE, Store, each_feature, feature_key
from tlkit.bundle.load import Bundle
from tlkit.images.given import GivenImage
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress
from tlkit.store.features import MAX_MAPPED, FeatureStore

if TYPE_CHECKING:
    from tlkit.api.inputs import Images


@dataclass(frozen=True, eq=False)
class Embedding:
    """The vector of one image.

    Attributes:
        file: The path as given or found; ``image`` or ``images[0]`` and so on for an image in memory.
        content: SHA-256 as hex of the file's bytes, or of the pixels of a Pillow image or array; None if unreadable.
        vector: float32 [dimensions], rounded to half precision like all stored features; None likewise.
        error: Why the image cannot be read; None if it can.
        reused: Whether the vector comes from an earlier run.
    """

    file: str
    content: str | None
    vector: NDArray[np.float32] | None
    error: str | None
    reused: bool = False


@documented(FileOptions)
def embed(  # noqa: PLR0913  (one argument an option)
    images: Images,
    *,
    backbone: str | None = None,
    model: PathLike | Bundle | None = None,
    stage: str | None = None,
    weights: str | None = None,
    image_size: int | None = None,
    preprocessing: str | None = None,
    engine: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Embedding]:
    """Compute one vector per image; the rows of `embed_iter` as a list."""
    return list(
        embed_iter(
            images,
            backbone=backbone,
            model=model,
            stage=stage,
            weights=weights,
            image_size=image_size,
            preprocessing=preprocessing,
            engine=engine,
            workers=workers,
            progress=progress,
            **options,
        )
    )


@documented(FileOptions)
def embed_iter(  # noqa: PLR0913
    images: Images,
    *,
    backbone: str | None = None,
    model: PathLike | Bundle | None = None,
    stage: str | None = None,
    weights: str | None = None,
    image_size: int | None = None,
    preprocessing: str | None = None,
    engine: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Iterator[Embedding]:
    """Compute one vector per image, one by one; memory does not grow with their number.

    Features of an earlier run are reused, and new ones are kept for later runs.

    Args:
        images: Files, folders, patterns, tables, images in memory: see `tlkit.predict_iter`.
        backbone: Any spelling of a catalogue name, or a ``.keras`` file; None: the packaged one, if no bundle is given.
        model: A bundle or its folder, whose network is used.
        stage: "top", the name of a stage such as "stage3", or "all"; None: what the head sees (the top of a backbone).
        weights: Weights of a backbone: "imagenet", "none" or a file; None: "imagenet".
        image_size: Side of a backbone's square input in pixels; None: its own.
        preprocessing: How to scale pixels for a ``.keras`` file, such as "scale-0-1"; None: what the file begins with.
        engine: "auto" (LiteRT on a CPU, Keras on a GPU), "litert" or "keras".
        workers: Threads to read images with, and cores to compute with; None: all.
        progress: Progress reporter.
        options: As follows.

    Yields:
        One row per image, in the order found; an unreadable image becomes a row with ``error``.

    Raises:
        TypeError: There is no such option.
        TlkitError: No image is found, there is no such backbone, bundle or stage, options contradict each other, or
            the engine is missing.
    """
    show = progress or SilentProgress()
    paths = find_images(images, FileOptions.of("embed", options), show)
    source = open_source(backbone, model, stage, weights, image_size, preprocessing, engine, show)
    store = FeatureStore(feature_key(source.extractor), max_mapped=MAX_MAPPED)
    try:
        with (
            show.phase(f"Embedding ({source.backbone})", len(paths)) as advance,
            contextlib.closing(rows_of(paths, source, store, workers)) as rows,
        ):
            for row in rows:
                yield row
                advance(1)
        if store.problem:
            show.note(store.problem)
    finally:
        store.close()


def rows_of(
    paths: Sequence[Path | GivenImage], source: Source, store: Store, workers: int | None
) -> Generator[Embedding, None, None]:
    """Yield one row per image, in order.

    Args:
        paths: The images, from `find_images`.
        source: The network and its stages.
        store: Where vectors are looked up and kept.
        workers: See `embed_iter`.
    """
    columns = columns_of(source.extractor.taps, [name for name, _ in source.blocks])
    first, last = columns[0], columns[-1] + 1
    chosen: Any = slice(first, last) if last - first == len(columns) else columns
    with contextlib.closing(each_feature(paths, source.extractor, store=store, workers=workers)) as found:
        for item, stored, new in found:
            file = str(paths[item.index])
            if stored is None:
                yield Embedding(file, None, None, item.error or NOT_FINITE)
            else:
                yield Embedding(file, item.content.hex(), stored.vector[chosen].copy(), None, not new)
