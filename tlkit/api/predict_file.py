"""``tlkit.predict_file``: predictions in a file, for long jobs, which may be killed and resumed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.api.inputs import PathLike, find_images, listed
from tlkit.api.parts import PREDICT, Manifest, write_part
from tlkit.api.places import places_named
from tlkit.api.predict import Asked, rows_of
from tlkit.api.prediction_rows import Counts, CsvRows, format_of, prediction_from
from tlkit.api.run_rows import RunRows
from tlkit.api.shards import Shard, names_below, share_of
from tlkit.api.table_options import FileOptions
from tlkit.api.train.keywords import documented
from tlkit.api.work_dir import remove_left_over, work_folder
from tlkit.bundle.load import Bundle, load
from tlkit.errors import TlkitError
from tlkit.files import check_free
from tlkit.images.given import GivenImage
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.inputs import Images


@dataclass(frozen=True)
class Predicted:
    """The result of writing predictions to a file.

    Attributes:
        model: The bundle.
        output: The file.
        counts: How many images there are of each kind.
        reused: Number of rows that come from the run that was resumed.
        seconds: Time taken.
    """

    model: Path
    output: Path
    counts: Counts
    reused: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "model": str(self.model),
            "output": str(self.output),
            **self.counts.to_json(),
            "reused": self.reused,
            "seconds": self.seconds,
        }


@documented(FileOptions)
def predict_file(  # noqa: PLR0913  (one argument an option)
    images: Images,
    output: PathLike,
    model: PathLike | Bundle | None = None,
    *,
    resume: bool = False,
    unknown_rate: float | None = None,
    threshold: float | None = None,
    precision: float | None = None,
    each_class: bool = False,
    top: int | None = None,
    tta: bool = False,
    shard: str | None = None,
    engine: str = AUTO,
    workers: int | None = None,
    raw_csv: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Predicted:
    """Label images and write one row for each to a file; memory does not grow with their number.

    The file gets its name only when it is complete. Until then its rows are in a folder beside it, ``NAME-run``, from
    which a run that was killed or interrupted is resumed.

    Args:
        images: See `tlkit.predict_iter`.
        output: A new file; its suffix sets the format: .csv, .jsonl or .parquet (needs pyarrow).
        model: A bundle or its folder; None: the newest ``*.tlkit`` in the current folder.
        resume: Go on with an unfinished run of the same file. Images that have changed since are labelled again.
        unknown_rate: See `tlkit.predict_iter`.
        threshold: See `tlkit.predict_iter`.
        precision: See `tlkit.predict_iter`.
        each_class: See `tlkit.predict_iter`.
        top: Number of most probable classes in a row; None: one in CSV, five in the other formats.
        tta: See `tlkit.predict_iter`.
        shard: Label only a share of the images: "2/8" is the second of eight. It goes into a part beside the file,
            ``NAME.part-2-of-8``; `tlkit.merge` puts all parts together. "auto/8": the number is that of an array job.
        engine: See `tlkit.predict_iter`.
        workers: See `tlkit.predict_iter`.
        raw_csv: In CSV, leave cells that begin like a formula as they are; else they get an apostrophe in front.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: As `tlkit.predict_iter`; the file exists, is among the images or cannot be written, another run is
            writing it, there is an unfinished run and ``resume`` is false, or that run was asked for something else; or
            there is no such shard.
    """
    start, show, target = time.perf_counter(), progress or SilentProgress(), Path(output).expanduser()
    images = listed(images)  # an iterator can be used only once
    form = format_of(target, CsvRows(top or 1, threshold is not None or precision is not None, raw_csv))
    wanted = None if shard is None else Shard.parse(shard)
    if wanted is not None:
        target = wanted.part(target)
    if os.path.lexists(target):
        remove_left_over(target)
    table = FileOptions.of("predict_file", options)
    places = places_named(images, table.columns)
    check_free(target, places, "--output")
    bundle = model if isinstance(model, Bundle) else load(model)
    asked = Asked.of(
        bundle,
        unknown_rate=unknown_rate,
        threshold=threshold,
        precision=precision,
        each_class=each_class,
        top=top,
        tta=tta,
        show=show,
    )
    found: Sequence[Path | GivenImage] = find_images(images, table, show)
    share = None
    if wanted is not None:
        share = share_of(names_below(found, places.within), wanted)
        found = [found[place] for place in share.places]
    counts = Counts()
    with work_folder(target) as folder:
        rows = RunRows(folder, found)
        try:
            rows.open(_signature(bundle, asked), resume=resume)
            with (
                show.phase("Predicting", len(found)) as advance,
                contextlib.closing(rows_of(found[rows.reused :], bundle, asked, engine, workers)) as new,
            ):
                advance(rows.reused)
                for row in new:
                    rows.add(row.to_json())
                    advance(1)
            if share is None:
                with form(folder.part) as write:
                    for each in map(prediction_from, rows.written()):
                        write(each)
                        counts.add(each)
            else:
                more = {"columns": top or 1, "review": asked.reviews}
                manifest = Manifest.of_share(PREDICT, share, _signature(bundle, asked) | more)
                write_part(folder.part, manifest, share.places, counts.of(rows.written()))
            folder.finish()
        except KeyboardInterrupt:
            show.note(f"{rows.done:,} of {plural(len(found), 'image')} done; to go on, run it again with --resume")
            raise
        except OSError as error:
            raise TlkitError(f"cannot write {target}: {error.strerror or error}") from error
        finally:
            rows.close()
    return Predicted(bundle.path, target, counts, rows.reused, round(time.perf_counter() - start, 3))


def _signature(bundle: Bundle, asked: Asked) -> dict[str, Any]:
    """What must be the same for rows of an earlier run to be used."""
    return {
        "model": bundle.manifest["digest"],
        "unknown_limit": asked.limit,
        **asked.to_json(),
        "--top": asked.top,
        "--tta": asked.tta,
    }
