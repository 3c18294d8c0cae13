"""Read the groups of images from a column of a CSV, TSV or JSON Lines file."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlkit.errors import TlkitError
from tlkit.images.group_spec import TABLES
from tlkit.words import plural

FILE_COLUMNS = ("file_name", "filename", "file", "image_path", "path", "image")  # the first that is there


def groups_from_table(table: Path, column: str, root: Path, files: Sequence[str]) -> list[str]:
    """Return the group of each image, "" for images that no row names.

    A row names its file by its path, relative to the images' folder or to the table, or by its name alone if no other
    image has that name.

    Args:
        table: The file.
        column: The column that holds the group.
        root: The folder of the images.
        files: Paths of the images, relative to ``root``.

    Raises:
        TlkitError: The table cannot be read, lacks a column, names no image, or puts one image into two groups.
    """
    rows = _rows(table)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if column not in columns:
        raise TlkitError(f"no column '{column}' in {table}", f"its columns are {', '.join(columns) or 'none'}")
    named_by = next((name for name in FILE_COLUMNS if name in columns), None)
    if named_by is None:
        hint = f"call the column of image files {FILE_COLUMNS[0]}; its columns are {', '.join(columns)}"
        raise TlkitError(f"no column of image files in {table}", hint)
    place = _places(files, root, table.parent)
    groups: dict[int, str] = {}
    for row in rows:
        file, group = str(row.get(named_by) or "").strip(), _text(row.get(column))
        index = place.get(_plain(file))
        if index is None or not group:
            continue
        if groups.setdefault(index, group) != group:
            raise TlkitError(
                f"{table} puts {files[index]} into two groups, {groups[index]} and {group}", "remove one of the rows"
            )
    if not groups:
        raise TlkitError(
            f"{table} names no image of {root}",
            f"its column {named_by} must hold paths relative to {root}; it has {plural(len(rows), 'row')}",
        )
    return [groups.get(index, "") for index in range(len(files))]


def _places(files: Sequence[str], root: Path, beside: Path) -> dict[str, int]:
    """Return the index of each image by every name that a row may give it."""
    found: dict[str, int] = {}
    double: set[str] = set()
    for index, file in enumerate(files):
        name = file.rsplit("/", 1)[-1]
        if found.setdefault(name, index) != index:
            double.add(name)
    for name in double:
        del found[name]
    for index, file in enumerate(files):
        path = root / file
        found[file] = found[path.as_posix()] = index
        relative = os.path.relpath(path, beside) if path.anchor == beside.anchor else path.as_posix()
        found[_plain(relative)] = index
    return found


def _plain(file: str) -> str:
    return file.replace("\\", "/").removeprefix("./") if os.sep == "\\" else file.removeprefix("./")


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _rows(table: Path) -> list[Mapping[str, Any]]:
    """Read all rows.

    Raises:
        TlkitError: The file cannot be read or is not such a table.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            separator = TABLES[table.suffix.lower()]
            return list(csv.DictReader(file, delimiter=separator)) if separator else list(_json_rows(file))
    except FileNotFoundError:
        raise TlkitError(f"no such file: {table}", "--groups FILE.csv:column") from None
    except OSError as error:
        raise TlkitError(f"cannot read {table}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise TlkitError(f"cannot read {table}: it is not a table in UTF-8", str(error)) from error


def _json_rows(lines: Iterable[str]) -> Iterable[Mapping[str, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object")
            yield row
