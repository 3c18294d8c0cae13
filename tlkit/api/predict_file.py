"""``tlkit.predict_file``: predictions in a file, for long jobs, which may be killed and resumed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tlkit.api.inputs import PathLike, find_images, listed
from tlkit.api.places import places_named
from tlkit.api.predict import Asked, Prediction, rows_of
from tlkit.api.prediction_rows import Counts, CsvRows, Format, format_of, prediction_from
from tlkit.api.shards import Shard, part_format, share_of
from tlkit.api.table_options import FileOptions
from tlkit.api.train.keywords import documented
from tlkit.api.work_dir import WorkFolder, remove_left_over, work_folder
from tlkit.bundle.load import Bundle, load
from tlkit.errors import TlkitError
from tlkit.files import check_free, replace_json
from tlkit.images.given import GivenImage
from tlkit.jsontext import json_text
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.inputs import Images

RUN, ROWS = "run.json", "rows.jsonl"
SYNC_SECONDS = 2.0  # a power cut loses at most the rows of so long


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
    if wanted is not None:
        share = share_of(found, places.within, wanted)
        manifest = share.manifest(_signature(bundle, asked), top or 1, asked.reviews)
        found, form = share.found, part_format(manifest, share.places)
    with work_folder(target) as folder:
        rows = _Rows(folder, found)
        try:
            rows.open(_signature(bundle, asked), resume=resume)
            with (
                show.phase("Predicting", len(found)) as advance,
                contextlib.closing(rows_of(found[rows.reused :], bundle, asked, engine, workers)) as new,
            ):
                advance(rows.reused)
                for row in new:
                    rows.add(row)
                    advance(1)
            rows.finish(form)
        except KeyboardInterrupt:
            show.note(f"{rows.done:,} of {plural(len(found), 'image')} done; to go on, run it again with --resume")
            raise
        except OSError as error:
            raise TlkitError(f"cannot write {target}: {error.strerror or error}") from error
        finally:
            rows.close()
    return Predicted(bundle.path, target, rows.counts, rows.reused, round(time.perf_counter() - start, 3))


def _signature(bundle: Bundle, asked: Asked) -> dict[str, Any]:
    """What must be the same for rows of an earlier run to be used."""
    return {
        "model": bundle.manifest["digest"],
        "unknown_limit": asked.limit,
        **asked.to_json(),
        "--top": asked.top,
        "--tta": asked.tta,
    }


class _Rows:
    """The rows of a run, each written down as soon as it is known, beside what tells whether its file has changed.

    Attributes:
        reused: Number of rows of an earlier run.
        done: Number of rows.
        counts: How many images there are of each kind; complete after `finish`.
    """

    def __init__(self, folder: WorkFolder, found: Sequence[Path | GivenImage]) -> None:
        self.reused = self.done = 0
        self.counts = Counts()
        self._folder, self._found = folder, found
        self._file = folder.spare / ROWS
        self._out: IO[bytes] | None = None
        self._synced = time.monotonic()

    def open(self, signature: dict[str, Any], *, resume: bool) -> None:
        """Begin, or go on where an earlier run ended.

        Raises:
            TlkitError: There is an unfinished run, and it is not to be resumed or was asked for something else.
        """
        spare = self._folder.spare
        if spare.exists():
            self._check(signature, resume=resume)
        else:
            spare.mkdir()
            replace_json(spare / RUN, signature)
        self._out = self._file.open("ab")
        end = 0
        for row, stamp, place in self._written():
            index = self.reused
            if index == len(self._found) or row.file != str(self._found[index]) or stamp != _stamp(self._found[index]):
                break
            self.reused, end = index + 1, place
        self._out.truncate(end)
        self.done = self.reused

    def _check(self, signature: dict[str, Any], *, resume: bool) -> None:
        folder, target = self._folder.path, self._folder.target
        if not resume:
            raise TlkitError(
                f"an unfinished run of {target} is in {folder}",
                "go on with it by --resume, or remove that folder to begin again",
            )
        try:
            before = json.loads((self._folder.spare / RUN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        wanted = json.loads(json_text(signature))
        if before != wanted:
            names = [name for name in wanted if not isinstance(before, dict) or before.get(name) != wanted[name]]
            raise TlkitError(
                f"the unfinished run of {target} differs in {', '.join(names)}",
                f"give the same as then, or remove {folder} to begin again",
            )

    def add(self, row: Prediction) -> None:
        """Write down the row of the next image."""
        assert self._out is not None
        text = json_text({"row": row.to_json(), "stamp": _stamp(self._found[self.done])})
        self._out.write(f"{text}\n".encode())
        self._out.flush()
        self.done += 1
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._out.fileno())
            self._synced = time.monotonic()

    def finish(self, form: Format) -> None:
        """Write all rows in the wanted format and give the file its name."""
        with form(self._folder.part) as write:
            for row, _, _ in self._written():
                write(row)
                self.counts.add(row)
        self._folder.finish()

    def close(self) -> None:
        """Close the file of rows; without any, nothing is left to resume."""
        if self._out is not None:
            self._out.close()
        if self._out is not None and not self.done:
            with contextlib.suppress(OSError):
                self._file.unlink()
                (self._folder.spare / RUN).unlink()
                self._folder.spare.rmdir()

    def _written(self) -> Iterator[tuple[Prediction, Any, int]]:
        """Yield each whole row, the stamp of its file, and where its line ends."""
        place = 0
        with self._file.open("rb") as file:
            for text in file:
                place += len(text)
                try:
                    data = json.loads(text)
                    row = prediction_from(data["row"])
                except (ValueError, KeyError, TypeError):  # cut off
                    return
                yield row, data.get("stamp"), place


def _stamp(image: Path | GivenImage) -> list[int] | None:
    """Return what tells whether a file is still the same: its size and time."""
    if isinstance(image, GivenImage):
        return None
    try:
        its = os.stat(image)  # noqa: PTH116  (of text that is no path too)
    except (OSError, ValueError):
        return None
    return [its.st_size, its.st_mtime_ns]
