"""``tlkit.embed_file``: vectors in a file, for long jobs, which may be killed and resumed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.api.embed.embed import rows_of
from tlkit.api.embed.parts import asked_of, vector_rows
from tlkit.api.embed.source import Source, open_source
from tlkit.api.embed.writers import Blocks, Format, Layout, format_of
from tlkit.api.inputs import PathLike, find_images, listed
from tlkit.api.part_file import check_part_target, run_part
from tlkit.api.parts import EMBED, Manifest
from tlkit.api.places import places_named
from tlkit.api.shards import Shard, Share, names_below, share_of
from tlkit.api.table_options import FileOptions
from tlkit.api.train.keywords import documented
from tlkit.api.work_dir import WorkFolder, work_folder
from tlkit.backbones.features import feature_key
from tlkit.bundle.load import Bundle
from tlkit.errors import TlkitError
from tlkit.images.given import GivenImage
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress
from tlkit.store.features import MAX_MAPPED, FeatureStore, SpareStore
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.inputs import Images


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
    shard: str | None = None,
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
        shard: Only a share of the images: "2/8" is the second of eight. It goes into a part beside the file,
            ``NAME.part-2-of-8``; `tlkit.merge` puts all parts together. "auto/8": the number is that of an array job.
        engine: See `embed_iter`.
        workers: See `embed_iter`.
        raw_csv: In CSV, leave names that begin like a formula as they are; else they get an apostrophe in front.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: As `embed_iter`; the file exists, is among the images or cannot be written, another run is
            writing it, no image can be read, or there is no such shard.
    """
    start, show, target = time.perf_counter(), progress or SilentProgress(), Path(output).expanduser()
    images = listed(images)  # an iterator can be used only once
    form = format_of(target, raw_csv=raw_csv)
    wanted = None if shard is None else Shard.parse(shard)
    target = target if wanted is None else wanted.part(target)
    table = FileOptions.of("embed_file", options)
    places = places_named(images, table.columns)
    check_part_target(target, places, "--output")
    paths: Sequence[Path | GivenImage] = find_images(images, table, show)
    share = None if wanted is None else share_of(names_below(paths, places.within), wanted)
    if share is not None:
        source = open_source(backbone, model, stage, weights, image_size, preprocessing, engine, show)
        return _embedded(source, _write_part(paths, source, share, target, workers, show), start)
    with work_folder(target) as folder_of_run:
        source = open_source(backbone, model, stage, weights, image_size, preprocessing, engine, show)
        count, reused, skipped = _write(paths, source, form, folder_of_run, workers, show)
    if reused:
        show.note(f"reused the features of {reused} of {plural(len(paths), 'image')} from an earlier run")
    return _embedded(source, (target, count, reused, skipped), start)


def _embedded(source: Source, written: tuple[Path, int, int, Sequence[tuple[str, str]]], start: float) -> Embedded:
    target, count, reused, skipped = written
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


def _write_part(
    paths: Sequence[Path | GivenImage], source: Source, share: Share, target: Path, workers: int | None, show: Progress
) -> tuple[Path, int, int, Sequence[tuple[str, str]]]:
    """Write the part of a share; return it, its number of vectors, how many were reused, and the skipped images."""
    found = [path for place in share.places if isinstance(path := paths[place], Path)]
    manifest = Manifest.of_share(EMBED, share, asked_of(source), note_of(source))
    store = FeatureStore(feature_key(source.extractor), max_mapped=MAX_MAPPED)
    phase = f"Embedding ({source.backbone})"
    try:
        part = run_part(
            target, manifest, share, found, lambda rest: vector_rows(rest, source, store, workers), show, phase
        )
    finally:
        store.close()
    return part.output, part.images - len(part.skipped), part.reused, part.skipped


def note_of(source: Source) -> dict[str, Any]:
    """Return what files with metadata say of the network."""
    return {"backbone": source.backbone, "model": source.model and str(source.model)}


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
    layout = Layout(source.blocks, note_of(source))
    count, reused = 0, 0
    skipped: list[tuple[str, str]] = []
    try:
        with (
            show.phase(f"Embedding ({source.backbone})", len(paths)) as advance,
            contextlib.closing(rows_of(paths, source, store, workers)) as rows,
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
