"""``tlkit.embed``: one vector per image, the pooled features of a frozen network."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.embed.source import Source, open_source
from tlkit.api.embed.writers import Blocks, Format, Layout, format_of
from tlkit.api.inputs import PathLike, find_images, listed
from tlkit.api.places import places_named
from tlkit.api.table_options import FileOptions
from tlkit.api.train.keywords import documented
from tlkit.api.work_dir import WorkFolder, remove_left_over, work_folder
from tlkit.backbones.extractor import columns_of
from tlkit.backbones.features import NOT_FINITE, Store, each_feature, feature_key
from tlkit.bundle.load import Bundle
from tlkit.errors import TlkitError
from tlkit.files import check_free
from tlkit.images.given import GivenImage
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress
from tlkit.store.features import MAX_MAPPED, FeatureStore, SpareStore
from tlkit.words import plural

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


@dataclass(frozen=True)
class Embedded:
    """The result of writing a file of vectors.

    Attributes:
        model: The bundle whose network was used; None: a backbone of the catalogue or a file.
        backbone: Its name in the catalogue.
        stage: Where the features are from: "top", the name of a stage, several joined by "+", or "all".
        images: Number of images in the file.
        dimensions: Length of a vector.
        blocks: (name, width) of the parts of a vector.
        output: The file.
        skipped: (file, reason) of every image that could not be read.
        seconds: Time taken.
        reused: Number of vectors that come from an earlier run.
    """

    model: Path | None
    backbone: str
    stage: str
    images: int
    dimensions: int
    blocks: Blocks
    output: Path
    skipped: tuple[tuple[str, str], ...]
    seconds: float
    reused: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "model": None if self.model is None else str(self.model),
            "backbone": self.backbone,
            "stage": self.stage,
            "images": self.images,
            "dimensions": self.dimensions,
            "blocks": dict(self.blocks),
            "output": str(self.output),
            "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
            "seconds": self.seconds,
            "reused": self.reused,
        }


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
            contextlib.closing(_rows(paths, source, store, workers)) as rows,
        ):
            for row in rows:
                yield row
                advance(1)
        if store.problem:
            show.note(store.problem)
    finally:
        store.close()


@documented(FileOptions)
def embed_file(  # noqa: PLR0913
    images: Images,
    output: PathLike,
    *,
    backbone: str | None = None,
    model: PathLike | Bundle | None = None,
    stage: str | None = None,
    weights: str | None = None,
    image_size: int | None = None,
    preprocessing: str | None = None,
    engine: str = AUTO,
    workers: int | None = None,
    raw_csv: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Embedded:
    """Write one vector per image to a file; memory does not grow with their number.

    The file gets its name only when it is complete. The same call again resumes a run that was killed or interrupted:
    what it computed is kept in the cache or, if that is not possible, in a folder beside the file. Images that cannot
    be read are skipped and reported.

    Args:
        images: See `embed_iter`.
        output: A new file; its suffix sets the format: .parquet (needs pyarrow), .npz or .csv.
        backbone: See `embed_iter`.
        model: See `embed_iter`.
        stage: See `embed_iter`.
        weights: See `embed_iter`.
        image_size: See `embed_iter`.
        preprocessing: See `embed_iter`.
        engine: See `embed_iter`.
        workers: See `embed_iter`.
        raw_csv: In CSV, leave names that begin like a formula as they are; else they get an apostrophe in front.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: As `embed_iter`; the file exists, is among the images or cannot be written, another run is
            writing it, or no image can be read.
    """
    start, show, target = time.perf_counter(), progress or SilentProgress(), Path(output).expanduser()
    images = listed(images)  # an iterator can be used only once
    form = format_of(target, raw_csv=raw_csv)
    if os.path.lexists(target):
        remove_left_over(target)
    table = FileOptions.of("embed_file", options)
    check_free(target, places_named(images, table.columns), "--output")
    paths = find_images(images, table, show)
    with work_folder(target) as folder_of_run:
        source = open_source(backbone, model, stage, weights, image_size, preprocessing, engine, show)
        count, reused, skipped = _write(paths, source, form, folder_of_run, workers, show)
    if reused:
        show.note(f"reused the features of {reused} of {plural(len(paths), 'image')} from an earlier run")
    return Embedded(
        model=source.model,
        backbone=source.backbone,
        stage=source.stage,
        images=count,
        dimensions=sum(width for _, width in source.blocks),
        blocks=source.blocks,
        output=target,
        skipped=tuple(skipped),
        seconds=round(time.perf_counter() - start, 3),
        reused=reused,
    )


def _write(
    paths: Sequence[Path | GivenImage],
    source: Source,
    form: Format,
    folder: WorkFolder,
    workers: int | None,
    show: Progress,
) -> tuple[int, int, list[tuple[str, str]]]:
    """Write the file and name it; return its number of rows, how many were reused, and the skipped images."""
    store = SpareStore(feature_key(source.extractor), len(paths), folder.spare)
    layout = Layout(source.blocks, {"backbone": source.backbone, "model": source.model and str(source.model)})
    count, reused = 0, 0
    skipped: list[tuple[str, str]] = []
    try:
        with (
            show.phase(f"Embedding ({source.backbone})", len(paths)) as advance,
            contextlib.closing(_rows(paths, source, store, workers)) as rows,
            form(folder.part, layout) as write,
        ):
            for row in rows:
                if row.vector is None or row.content is None:
                    skipped.append((row.file, str(row.error)))
                    show.note(f"skipped {row.file}: {row.error}")
                else:
                    write(row.file, row.content, row.vector)
                    count += 1
                    reused += row.reused
                advance(1)
        if not count:
            raise TlkitError(f"no readable image among {plural(len(paths), 'file')}", "{}: {}".format(*skipped[0]))
        folder.finish()
        if count > reused and store.why_spare is not None:
            show.note(f"{store.why_spare}, so a later run computes them again")
    except KeyboardInterrupt:
        done = count + len(skipped)
        where = f" ({folder.path} is kept until then)" if store.why_spare else ""
        problem = store.problem or f"to resume, run the same command again{where}"
        show.note(f"{done} of {plural(len(paths), 'image')} done; {problem}")
        raise
    except OSError as error:
        raise TlkitError(f"cannot write {folder.target}: {error.strerror or error}") from error
    finally:
        store.close()
    return count, reused, skipped


def _rows(
    paths: Sequence[Path | GivenImage], source: Source, store: Store, workers: int | None
) -> Generator[Embedding, None, None]:
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
