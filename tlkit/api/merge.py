"""``tlkit.merge``: the parts that `tlkit.predict_file` wrote with ``shard`` become one file."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.api.inputs import PathLike
from tlkit.api.prediction_rows import Counts, CsvRows, format_of
from tlkit.api.shards import Manifest, read_manifest, read_rows
from tlkit.durable import new_file
from tlkit.errors import TlkitError
from tlkit.files import check_free
from tlkit.progress import Progress, SilentProgress
from tlkit.words import plural, some


@dataclass(frozen=True)
class Merged:
    """The result of putting parts together.

    Attributes:
        output: The file.
        parts: Number of parts.
        counts: How many images there are of each kind.
        seconds: Time taken.
    """

    output: Path
    parts: int
    counts: Counts
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "output": str(self.output),
            "parts": self.parts,
            **self.counts.to_json(),
            "seconds": self.seconds,
        }


def merge(
    parts: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    raw_csv: bool = False,
    progress: Progress | None = None,
) -> Merged:
    """Put parts together: the same file as without shards, to the last byte. Memory does not grow with their size.

    Args:
        parts: The parts, in any order, or folders of them.
        output: A new file; its suffix sets the format: .csv, .jsonl or .parquet (needs pyarrow).
        raw_csv: In CSV, leave cells that begin like a formula as they are; else they get an apostrophe in front.
        progress: Progress reporter.

    Raises:
        TlkitError: A part is missing, given twice, damaged, or of another bundle, options or images than the rest; or
            the file exists or cannot be written.
    """
    start, show, target = time.perf_counter(), progress or SilentProgress(), Path(output).expanduser()
    found = {path: read_manifest(path) for path in _files(parts)}
    first = _checked(found)
    form = format_of(target, CsvRows(first.top, first.review, raw_csv))
    check_free(target, None, "--output")
    counts, ordered = Counts(), heapq.merge(*(read_rows(path) for path in found), key=lambda each: each[0])
    with (
        show.phase("Merging", first.images) as advance,
        new_file(target) as file,
        form(file) as write,
    ):
        for place, row in ordered:
            if place != counts.images:
                raise _uneven(found, place, counts.images)
            counts.add(row)
            write(row)
            advance(1)
        if counts.images != first.images:
            raise _uneven(found, counts.images, first.images)
    return Merged(target, len(found), counts, round(time.perf_counter() - start, 3))


def _files(parts: PathLike | Sequence[PathLike]) -> list[Path]:
    """List the parts, those in folders too, each once.

    Raises:
        TlkitError: There is none.
    """
    given = [parts] if isinstance(parts, (str, os.PathLike)) else list(parts)
    found: dict[Path, Path] = {}
    for each in map(Path, given):
        inside = sorted(each.glob("*.part-*-of-*")) if each.is_dir() else [each]
        found.update({path.absolute(): path for path in inside if not path.is_dir()})
    if not found:
        raise TlkitError(f"no parts in {some(map(str, given))}", "give the files named .part-1-of-8 and so on")
    return list(found.values())


def _checked(found: dict[Path, Manifest]) -> Manifest:
    """Check that parts belong together and are all there; return what the first says.

    Raises:
        TlkitError: They do not, or are not.
    """
    head, first = next(iter(found.items()))
    numbers: dict[int, Path] = {}
    for path, its in found.items():
        if its.of != first.of:
            raise TlkitError(f"{path} is one of {its.of} parts, and {head} one of {first.of}", "give parts of one run")
        if (its.listing, its.images) != (first.listing, first.images):
            raise TlkitError(
                f"{path} and {head} are of different images: {its.images:,} and {first.images:,} in all",
                "images came or went in between: run the shards again",
            )
        if (its.asked, its.top, its.review) != (first.asked, first.top, first.review):
            raise TlkitError(f"{path} and {head} are of different bundles or options", "run one of them again")
        if its.number in numbers:
            raise TlkitError(f"{path} and {numbers[its.number]} are the same part", "leave one out")
        numbers[its.number] = path
    if missing := [f"part {number}" for number in range(1, first.of + 1) if number not in numbers]:
        verb = "is" if len(missing) == 1 else "are"
        raise TlkitError(f"{some(missing)} of {first.of} {verb} missing", f"run --shard {missing[0][5:]}/{first.of}")
    return first


def _uneven(found: dict[Path, Manifest], place: int, expected: int) -> TlkitError:
    parts = plural(len(found), "part")
    return TlkitError(f"the {parts} do not hold every image once: {place:,} after {expected:,}", "run the shards again")
