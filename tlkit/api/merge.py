"""``tlkit.merge``: the parts that shards wrote become what one machine would have written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.api.inputs import PathLike
from tlkit.api.parts import CHECK, EMBED, FEATURES, PREDICT, Parts, open_parts
from tlkit.api.prediction_rows import Counts, CsvRows, format_of, prediction_from
from tlkit.context import Context
from tlkit.durable import new_file
from tlkit.errors import TlkitError
from tlkit.files import check_free, write_new
from tlkit.images.check import Checked
from tlkit.progress import Progress, SilentProgress
from tlkit.schema import Count, Positive, parsed
from tlkit.words import plural

KEEP_EVERY = 512  # rows of features that are kept together


@dataclass(frozen=True)
class Merged:
    """The result of putting parts together.

    Attributes:
        command: Whose parts they are: "predict", "embed", "check" or "features".
        output: The file that was written; None: no file.
        parts: Number of parts.
        images: Number of images in them.
        counts: Of predict: how many images there are of each kind.
        checked: Of check: what was found.
        skipped: Of embed and features: (file, reason) of each image that could not be read.
        seconds: Time taken.
    """

    command: str
    output: Path | None
    parts: int
    images: int
    counts: Counts | None
    checked: Checked | None
    skipped: tuple[tuple[str, str], ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data, the fields of the command line's JSON; of check, those of `tlkit check --json`."""
        if self.checked is not None:
            return self.checked.to_json()
        kinds = {} if self.counts is None else self.counts.to_json()
        skipped = [{"file": file, "error": reason} for file, reason in self.skipped]
        return {
            "command": self.command,
            "output": None if self.output is None else str(self.output),
            "parts": self.parts,
            "images": self.images,
            **kinds,
            **({} if self.command == PREDICT else {"skipped": skipped}),
            "seconds": self.seconds,
        }


@dataclass
class _Found:
    """What merging came to; see `Merged`."""

    counts: Counts | None = None
    checked: Checked | None = None
    skipped: tuple[tuple[str, str], ...] = ()


def merge(
    parts: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    *,
    raw_csv: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Merged:
    """Put parts together: the same as without shards, to the last byte.

    Those of ``predict`` and ``embed`` become a file, and memory does not grow with their size. Those of ``check`` are
    compared with each other: the report is that of one machine. Those of ``features`` go into the cache.

    Args:
        parts: The parts, in any order, or folders of them.
        output: A new file; its suffix sets the format, as for the command. Of ``check``: a CSV file of every finding,
            or None. Of ``features``: None.
        raw_csv: In CSV, leave cells that begin like a formula as they are; else they get an apostrophe in front.
        workers: Of ``check``: cores to compute with; None: all.
        progress: Progress reporter.

    Raises:
        TlkitError: A part is missing, given twice, damaged, or of another bundle, options or images than the rest; or
            the file exists or cannot be written.
    """
    start, show = time.perf_counter(), progress or SilentProgress()
    found = open_parts(parts)
    command = found.first.command
    target = None if output is None else Path(output).expanduser()
    if command in (PREDICT, EMBED) and target is None:
        raise TlkitError(f"parts of {command} require --output", "for example --output merged.csv")
    if command == FEATURES and target is not None:
        raise TlkitError("--output does not apply to parts of features", "they go into the cache")
    ends: dict[str, Callable[[], _Found]] = {
        PREDICT: lambda: _predictions(found, _given(target), show, raw=raw_csv),
        EMBED: lambda: _vectors(found, _given(target), show, raw=raw_csv),
        CHECK: lambda: _check(found, target, Context(show, workers, 0), raw=raw_csv),
        FEATURES: lambda: _features(found, show),
    }
    its = ends[command]()
    seconds = round(time.perf_counter() - start, 3)
    return Merged(command, target, len(found.found), found.first.images, its.counts, its.checked, its.skipped, seconds)


def _given(target: Path | None) -> Path:
    assert target is not None
    return target


def _predictions(parts: Parts, target: Path, show: Progress, *, raw: bool) -> _Found:
    try:
        asked = parts.first.asked
        columns, review = parsed(Positive, asked["columns"], "columns"), parsed(bool, asked["review"], "review")
    except (ValueError, KeyError, TypeError) as error:
        raise parts.damaged() from error
    form = format_of(target, CsvRows(columns, review, raw))
    check_free(target, None, "--output")
    counts = Counts()
    with (
        show.phase("Merging", parts.first.images) as advance,
        new_file(target) as file,
        form(file) as write,
    ):
        for data in parts.rows():
            try:
                row = prediction_from(data)
            except (ValueError, KeyError, TypeError) as error:
                raise parts.damaged() from error
            counts.add(row)
            write(row)
            advance(1)
    return _Found(counts=counts)


def _vectors(parts: Parts, target: Path, show: Progress, *, raw: bool) -> _Found:
    from tlkit.api.embed.parts import vector_row
    from tlkit.api.embed.writers import Layout, format_of

    form = format_of(target, raw_csv=raw)
    check_free(target, None, "--output")
    skipped = []
    try:
        blocks = parsed(tuple[tuple[str, Positive], ...], parts.first.asked["blocks"], "blocks")
        layout = Layout(blocks, dict(parts.first.note))
    except (ValueError, KeyError, TypeError) as error:
        raise parts.damaged() from error
    with (
        show.phase("Merging", parts.first.images) as advance,
        new_file(target) as file,
        form(file, layout) as write,
    ):
        for data in parts.rows():
            try:
                row = vector_row(data, layout.columns)
            except (ValueError, KeyError, TypeError) as error:
                raise parts.damaged() from error
            if row.vector is None:
                skipped.append((row.file, str(row.error)))
            else:
                write(row.file, row.content, row.vector)
            advance(1)
        if len(skipped) == parts.first.images:
            first = "{}: {}".format(*skipped[0]) if skipped else None
            raise TlkitError(f"no readable image among {plural(len(skipped), 'file')}", first)
    return _Found(skipped=tuple(skipped))


def _check(parts: Parts, target: Path | None, context: Context, *, raw: bool) -> _Found:
    from tlkit.api.check_report import check_report_name, report_text
    from tlkit.api.check_rows import merged_check

    if target is not None:
        check_free(target, None, "--output")
        check_report_name(target)
    checked = merged_check(parts, context)
    if target is not None:
        write_new(target, report_text(checked, target, raw=raw))
    return _Found(checked=checked)


def _features(parts: Parts, show: Progress) -> _Found:
    from tlkit.api.embed.parts import vector_row
    from tlkit.api.features import require_room
    from tlkit.store.features import FeatureKey, FeatureStore, Stored

    try:
        asked = parts.first.asked
        taps = parsed(tuple[tuple[str, Positive], ...], asked["taps"], "taps")
        backbone, weights = (parsed(str, asked[name], name) for name in ("backbone", "weights"))
        size, reading = (parsed(Count, asked[name], name) for name in ("size", "reading"))
        key = FeatureKey(backbone, weights, size, size, reading, taps)
        if not backbone or set(backbone) & set("/\\\0"):
            raise ValueError("no name of a network")
    except (ValueError, KeyError, TypeError) as error:
        raise parts.damaged() from error
    require_room(key, parts.first.images)
    skipped, some = [], []
    with (
        contextlib.closing(FeatureStore(key)) as store,
        show.phase("Merging", parts.first.images) as advance,
    ):
        for data in parts.rows():
            try:
                row = vector_row(data, key.columns)
            except (ValueError, KeyError, TypeError) as error:
                raise parts.damaged() from error
            content = bytes.fromhex(row.content)
            if row.vector is None:
                skipped.append((row.file, str(row.error)))
            elif store.get(content) is None:
                some.append((content, Stored(row.vector, row.fingerprint)))
            if len(some) == KEEP_EVERY:
                store.add(some)
                some = []
            advance(1)
        store.add(some)
        if store.problem:
            raise TlkitError(store.problem, "set TLKIT_CACHE to a folder that can be written")
    return _Found(skipped=tuple(skipped))
