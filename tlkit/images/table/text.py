"""Read a table of text: CSV with any usual separator and encoding, TSV, JSON Lines, or a JSON list of objects."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tlkit.errors import TlkitError
from tlkit.images.formats import IMAGE_SUFFIXES

JSON_LINES = (".jsonl", ".ndjson")
TEXT = ".txt"  # what Excel calls Unicode text, and lists of files and numbers
SUFFIXES = (".csv", ".tsv", ".tab", TEXT, *JSON_LINES, ".json")
"""Files that are read as a table."""

OTHER_KINDS = (".xlsx", ".xls", ".ods", ".parquet", ".feather")
SEPARATORS = (",", ";", "\t", "|")
SAMPLE = 50  # rows by which the separator is found
KINDS = ", ".join(SUFFIXES)

Record = tuple[int, list[str]]


@dataclass(frozen=True)
class Table:
    """A table whose rows are read when they are needed.

    Attributes:
        path: The file.
        columns: Names of the columns as in the file; "1", "2" and so on where it has none.
        headed: Whether the file names its columns.
        encoding: How its text is stored.
        records: Yields (line number, cells) of each row that is not empty. A row may have more or fewer cells than
            there are columns.
    """

    path: Path
    columns: tuple[str, ...]
    headed: bool
    encoding: str
    records: Callable[[], Iterator[Record]]

    @property
    def is_csv(self) -> bool:
        """Whether it is CSV or TSV, whose cells tlkit may have escaped."""
        return self.path.suffix.lower() not in (*JSON_LINES, ".json")

    def cells(self, column: int) -> list[str]:
        """The cells of a column in the first rows."""
        return [cells[column] for _, cells in islice(self.records(), SAMPLE) if column < len(cells)]


def names_table(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the suffix of a table and is not a folder."""
    return Path(path).suffix.lower() in SUFFIXES and not os.path.isdir(path)  # noqa: PTH112  (never raises)


def open_table(path: Path, known: Collection[str], folded: Callable[[str], str]) -> Table:
    """Open a table and find its columns. A first line without the name of an image is taken as their names.

    Args:
        path: The file; its suffix is one of `SUFFIXES`.
        known: Names of columns, folded, by which the right separator is recognised.
        folded: Folds a name to compare it.

    Raises:
        TlkitError: The file cannot be read, is not text or not a table, or has no rows.
    """
    text, encoding = _text(path)
    if path.suffix.lower() in (*JSON_LINES, ".json"):
        table = _json_table(path, text, encoding)
    else:
        table = _csv_table(path, text, encoding, lambda cells: sum(folded(cell) in known for cell in cells))
    if next(table.records(), None) is None:
        raise TlkitError(f"no rows in {path}")
    return table


def _text(path: Path) -> tuple[str, str]:
    """Return the text of a file and its encoding."""
    try:
        if not path.is_file():
            raise TlkitError(f"no such file: {path}" if not path.exists() else f"not a file: {path}")
        data = path.read_bytes()
    except OSError as error:
        raise TlkitError(f"cannot read {path}: {error.strerror or error}") from error
    encoding = _encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        encoding, text = "latin-1", data.decode("latin-1")
    if "\0" in text:
        raise TlkitError(f"not a table: {path} is not text", "save it as CSV")
    return text.removeprefix("\ufeff"), encoding


def _encoding(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    head = data[:1000]
    if head[1::2].count(0) > len(head) // 4:
        return "utf-16-le"
    if head[::2].count(0) > len(head) // 4:
        return "utf-16-be"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _csv_table(path: Path, text: str, encoding: str, count_known: Callable[[list[str]], int]) -> Table:
    first, _, rest = text.partition("\n")
    separator = None
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # how Excel is told the separator
        separator, text = first.strip()[4], rest
    if separator is None:
        separator = _separator(path, text, count_known)
    header = [cell.strip() for cell in next(_csv_rows(path, text, separator), (1, []))[1]]
    headed = not any(map(looks_like_image, header))
    columns = header if headed else [str(number) for number in range(1, len(header) + 1)]

    def records() -> Iterator[Record]:
        rows = _csv_rows(path, text, separator)
        return islice(rows, 1, None) if headed else rows

    return Table(path, tuple(columns), headed, encoding, records)


def _csv_rows(path: Path, text: str, separator: str) -> Iterator[Record]:
    """Yield (line number, cells) of each row that has anything in it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if "".join(cells).strip():
                yield reader.line_num, cells
    except csv.Error as error:
        raise TlkitError(f"cannot read {path}, line {reader.line_num}: {error}", "check its quotation marks") from None


def _separator(path: Path, text: str, count_known: Callable[[list[str]], int]) -> str:
    """Return the separator with the most known names in the first line; of equals, the one that fits the most rows."""

    def fit(separator: str) -> tuple[int, float, int]:
        try:
            rows = [cells for _, cells in islice(_csv_rows(path, text, separator), SAMPLE)]
        except TlkitError:
            return 0, 0.0, 0
        if not rows or len(rows[0]) < 2:
            return 0, 0.0, 0
        width = len(rows[0])
        return count_known(rows[0]), sum(len(row) == width for row in rows) / len(rows), width

    separators = (*SEPARATORS, " ") if path.suffix.lower() == TEXT else SEPARATORS
    fits = {separator: fit(separator) for separator in separators}
    return max(separators, key=fits.__getitem__)  # the first of equals


def _json_table(path: Path, text: str, encoding: str) -> Table:
    if path.suffix.lower() == ".json":
        found = _parsed(path, text, None)
        if not isinstance(found, list):
            hint = "JSON Lines needs a .jsonl file"
            if isinstance(found, dict) and "annotations" in found:
                hint = "it looks like one of detection or segmentation; tlkit gives one label to a whole image"
            raise TlkitError(f"not a table: {path} is not a JSON list of objects", hint)
        lines: Iterable[tuple[int, Any]] = list(enumerate(found, 1))
    else:
        # not splitlines: text in JSON may hold other line separators
        rows = enumerate(text.split("\n"), 1)
        lines = [(number, _parsed(path, line, number)) for number, line in rows if line.strip()]
    columns: dict[str, None] = {}
    for number, each in lines:
        if not isinstance(each, dict):
            raise TlkitError(f"not a table: {path}, line {number}, is not a JSON object")
        columns.update(dict.fromkeys(each))
    names = tuple(columns)

    def records() -> Iterator[Record]:
        return ((number, [_cell(each.get(name)) for name in names]) for number, each in lines)

    return Table(path, names, True, encoding, records)


def _parsed(path: Path, text: str, line: int | None) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        where = f", line {line}," if line is not None else ""
        raise TlkitError(f"not a table: {path}{where} is not JSON ({error})") from None


def _cell(value: Any) -> str:
    """Return a JSON value as text: numbers as they are written, null as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def looks_like_image(cell: str) -> bool:
    """Whether a cell ends like the name of an image file."""
    _, dot, suffix = cell.strip().rpartition(".")
    return bool(dot) and f".{suffix.lower()}" in IMAGE_SUFFIXES
