"""Find out which column of a table holds files, which labels, splits and groups."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tlkit.errors import TlkitError
from tlkit.images.table.text import Table, looks_like_image, open_table
from tlkit.words import some

NONE = "none"  # what an option says for: do not use such a column

FILES = (
    *("filename", "filepath", "imagepath", "imgpath", "path", "file", "image", "img", "imagefile", "imagename"),
    *("imgname", "photo", "picture", "fname", "imageid", "imgid", "idcode", "id"),
)
LABELS = (
    *("label", "labels", "class", "classname", "classlabel", "labelname", "species", "category", "categoryname"),
    *("target", "breed", "variety", "diagnosis", "dx", "y", "classid", "labelid", "categoryid"),
)
FLAGS = ("isvalid", "isval", "istest", "istrain")  # splits said by yes or no
SPLITS = ("split", "subset", "partition", "set", *FLAGS)
GROUPS = ("group", "groups", "groupid")
"""Names of columns, as `folded` spells them; earlier ones are preferred."""


@dataclass(frozen=True)
class Columns:
    """What a user says of a table. None: it is found out.

    Attributes:
        label: Name of the column of labels.
        file: Name of the column of files.
        split: Name of the column of splits, or `NONE`.
        group: Name of the column of groups, or `NONE`.
        root: Folder that the files' paths start from; None: the table's folder.
    """

    label: str | None = None
    file: str | None = None
    split: str | None = None
    group: str | None = None
    root: Path | None = None

    def first_given(self) -> str | None:
        """The option of the first value that is given; None: there is none."""
        options = {
            "--label-column": self.label,
            "--file-column": self.file,
            "--split-column": self.split,
            "--group-column": self.group,
            "--root": self.root,
        }
        return next((option for option, value in options.items() if value is not None), None)


@dataclass(frozen=True)
class Chosen:
    """The columns of a table by their index.

    Attributes:
        file: Column of files.
        labels: Column of labels; more than one: one column a class, with a 1 for the image's own.
        split: Column of splits; None: there is none.
        group: Column of groups; None: there is none.
    """

    file: int
    labels: tuple[int, ...]
    split: int | None = None
    group: int | None = None


def folded(name: str) -> str:
    """Return a column's name without case, spaces and punctuation, to compare it."""
    return "".join(each for each in unicodedata.normalize("NFKC", name).casefold() if each.isalnum())


def open_with_columns(path: Path, given: Columns) -> Table:
    """Open a table; columns that are known or given help to find its separator.

    Raises:
        TlkitError: As `open_table`.
    """
    names = (given.label, given.file, given.split, given.group)
    return open_table(path, {*FILES, *LABELS, *map(folded, filter(None, names))}, folded)


def choose(
    table: Table, given: Columns, exists: Callable[[str], bool], *, labelled: bool, known_only: bool = False
) -> Chosen:
    """Choose the columns of a table.

    Args:
        table: The table.
        given: What the user says of it.
        exists: Whether there is a file of this name.
        labelled: Whether labels are needed; without, only the column of files is looked for.
        known_only: Whether a column of labels must have a known name, and not just be the only one left.

    Raises:
        TlkitError: A column does not exist, or it is not clear which one is meant; the message names the columns.
    """
    file = _file_column(table, given, exists)
    if not labelled:
        return Chosen(file, ())
    split = _optional(table, given.split, "--split-column", SPLITS)
    group = _optional(table, given.group, "--group-column", GROUPS)
    labels = _label_columns(table, given, {file, split, group}, known_only)
    used = [file, *labels, *(each for each in (split, group) if each is not None)]
    if len(set(used)) < len(used):
        raise TlkitError(f"{table.path}: one column cannot be used for two things", names_of(table))
    for name in (table.columns[each] for each in used):
        if table.columns.count(name) > 1:
            raise TlkitError(
                f"{table.path} has {table.columns.count(name)} columns named '{name}'", "rename one of them"
            )
    return Chosen(file, labels, split, group)


def named_column(table: Table, name: str, option: str) -> int:
    """Return the index of the column that a user names.

    Raises:
        TlkitError: There is no such column, or more than one.
    """
    for same in (str, folded):
        hits = [index for index, column in enumerate(table.columns) if same(column) == same(name)]
        if len(hits) > 1:
            raise TlkitError(f"{table.path} has {len(hits)} columns named '{name}'", f"{option} must name one column")
        if hits:
            return hits[0]
    close = get_close_matches(name, [column for column in table.columns if column], n=1)
    hint = f"did you mean '{close[0]}'? {names_of(table)}" if close else names_of(table)
    raise TlkitError(f"{table.path} has no column '{name}' ({option})", hint)


def known_columns(table: Table, names: Sequence[str]) -> list[int]:
    """Return the columns that have one of some names, in the order of the names."""
    by_name: dict[str, list[int]] = {}
    for index, column in enumerate(table.columns):
        by_name.setdefault(folded(column), []).append(index)
    return [index for name in names for index in by_name.get(name, ())]


def _optional(table: Table, name: str | None, option: str, names: Sequence[str]) -> int | None:
    if name == NONE:
        return None
    if name is not None:
        return named_column(table, name, option)
    return next(iter(known_columns(table, names)), None)


def _file_column(table: Table, given: Columns, exists: Callable[[str], bool]) -> int:
    """Return the column of files: the one named, a known name whose files exist, or the only one with names of images.

    Raises:
        TlkitError: There is none.
    """
    if given.file is not None:
        return named_column(table, given.file, "--file-column")
    used = {named_column(table, name, "--label-column") for name in [given.label] if name is not None}
    if not table.headed:
        image = [index for index in range(len(table.columns)) if _has_images(table, index)]
        return image[0] if image else 0
    known = [index for index in known_columns(table, FILES) if index not in used]
    for index in known:
        if any(cell.strip() and exists(cell.strip()) for cell in table.cells(index)):
            return index
    if known:
        return known[0]
    images = [index for index in range(len(table.columns)) if index not in used and _has_images(table, index)]
    if len(images) == 1:
        return images[0]
    raise TlkitError(f"{table.path}: which column holds the files? {names_of(table)}", "name it: --file-column NAME")


def _has_images(table: Table, index: int) -> bool:
    cells = table.cells(index)
    return sum(map(looks_like_image, cells)) * 2 > len(cells)


def _label_columns(table: Table, given: Columns, used: set[int | None], known_only: bool) -> tuple[int, ...]:
    """Return the column of labels, or one column a class.

    Raises:
        TlkitError: There is none, or there are several that differ.
    """
    if given.label is not None:
        return (named_column(table, given.label, "--label-column"),)
    free = [index for index in range(len(table.columns)) if index not in used]
    if not table.headed:
        if len(free) == 1:
            return (free[0],)
        raise _unclear_label(table, "it has no line of names, so they are numbered")
    known = [index for index in known_columns(table, LABELS) if index not in used]
    if known and folded(table.columns[known[0]]) == LABELS[0]:
        return (known[0],)
    if len(known) > 1:
        return (_equal_column(table, known),)
    if known:
        return (known[0],)
    named = [index for index in free if table.columns[index] and not known_only]
    if len(named) == 1:
        return (named[0],)
    if len(named) > 1 and all(_is_flag(table, index) for index in named):
        return tuple(named)
    raise _unclear_label(table)


def _unclear_label(table: Table, why: str = "") -> TlkitError:
    said = f"{table.path}: which column holds the labels? {names_of(table)}"
    return TlkitError(f"{said}; {why}" if why else said, "name it: --label-column NAME")


def _equal_column(table: Table, known: Sequence[int]) -> int:
    """Return one of several columns that say the same in different words, preferably not in numbers.

    Raises:
        TlkitError: They say different things.
    """
    rows = [tuple(cells[index].strip() for index in known) for _, cells in table.records() if len(cells) > max(known)]
    pairs = len(set(rows))
    if any(len({row[place] for row in rows}) != pairs for place in range(len(known))):
        names = " and ".join(f"'{table.columns[index]}'" for index in known)
        raise TlkitError(f"{table.path}: which column holds the labels? {names} differ", "name it: --label-column NAME")
    texts = [index for place, index in enumerate(known) if not all(_is_number(row[place]) for row in rows)]
    return (texts or list(known))[0]


def _is_flag(table: Table, index: int) -> bool:
    return {cell.strip() for cell in table.cells(index)} <= {"0", "1", "0.0", "1.0"}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def names_of(table: Table) -> str:
    """Return the names of a table's columns, in words for a hint."""
    return f"its columns are {some((column or '(no name)' for column in table.columns), 20)}"
