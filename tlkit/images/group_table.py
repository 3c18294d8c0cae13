"""Read the groups of images from a column of a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tlkit.errors import TlkitError
from tlkit.images.table.columns import FILES, Columns, known_columns, named_column, names_of, open_with_columns
from tlkit.words import plural


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
    if not os.path.lexists(table):
        raise TlkitError(f"no such file: {table}", "--groups FILE.csv:column")
    opened = open_with_columns(table, Columns(group=column))
    of_group = named_column(opened, column, "--groups")
    of_file = next((index for index in known_columns(opened, FILES) if index != of_group), None)
    if of_file is None:
        hint = f"call the column of image files file_name; {names_of(opened)}"
        raise TlkitError(f"no column of image files in {table}", hint)
    place = _places(files, root, table.parent)
    groups: dict[int, str] = {}
    count = 0
    for _, cells in opened.records():
        cells += [""] * (len(opened.columns) - len(cells))
        file, group = cells[of_file].strip(), cells[of_group].strip()
        count += 1
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
            f"its column {opened.columns[of_file]} must hold paths relative to {root}; it has {plural(count, 'row')}",
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
