"""What the cells of a row say: its label and its split."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Callable, Collection

from tlkit.csvtext import original
from tlkit.errors import TlkitError
from tlkit.images.split_names import TEST, TRAIN, VAL, split_of
from tlkit.images.table.columns import FLAGS, Chosen, folded
from tlkit.images.table.text import Table

YES, NO = frozenset({"1", "true", "yes", "1.0"}), frozenset({"0", "false", "no", "0.0", ""})
MEANT = dict(zip(FLAGS, ((VAL, TRAIN), (VAL, TRAIN), (TEST, TRAIN), (TRAIN, TEST)), strict=True))
"""What yes and no in these columns mean."""

NOTHING = frozenset({"nan", "<na>", "null", "#n/a"})
"""How programs write that there is no value; lower case."""

MANY = ("labels", "tags")
"""Names of columns that hold several labels in a cell."""

_LIST = re.compile(r"""\[\s*(?:(['"]).*\1)?\s*\]""", re.DOTALL)
MAX_LIST = 2000  # characters of a list of labels


def label_reader(table: Table, chosen: Chosen) -> Callable[[list[str]], list[str]]:
    """Return a function from a row's cells to its labels: one, or none, or several by mistake."""
    if len(chosen.labels) == 1:
        column = chosen.labels[0]

        known: dict[str, list[str]] = {}

        def one(cells: list[str]) -> list[str]:
            cell = cells[column]
            if cell not in known:
                known[cell] = [
                    original(label) if table.is_csv else label
                    for text in _listed(cell, table, column)
                    if (label := unicodedata.normalize("NFC", text.strip())) and label.lower() not in NOTHING
                ]
            return known[cell]

        return one
    names = {column: unicodedata.normalize("NFC", table.columns[column].strip()) for column in chosen.labels}

    def flagged(cells: list[str]) -> list[str]:
        strange = [cells[column] for column in names if cells[column].strip().lower() not in YES | NO]
        if strange:
            raise TlkitError(
                f"{table.path}: which column holds the labels? '{strange[0]}' is neither 0 nor 1",
                "name it: --label-column NAME",
            )
        return [name for column, name in names.items() if cells[column].strip().lower() in YES]

    return flagged


def _listed(cell: str, table: Table, column: int) -> list[str]:
    """Return the labels in a cell: one, or those of a list as JSON and Python write it.

    Raises:
        TlkitError: The cell is an object of JSON.
    """
    text = cell.strip()
    if not table.is_csv and text.startswith("{"):
        raise TlkitError(
            f"{table.path}: column '{table.columns[column]}' holds objects, such as {text[:60]}",
            "labels must be text or numbers",
        )
    if not _LIST.fullmatch(text) or len(text) > MAX_LIST:
        return [cell]
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [cell]
    return [str(each) for each in found] if isinstance(found, list) else [cell]


def several_labels(labels: Collection[str], column: str) -> dict[str, list[str]]:
    """Return the labels that are several in one cell, such as "cat|outdoor" if "cat" is a label too.

    Args:
        labels: All labels of a column.
        column: Its name. Spaces separate labels only in one called "labels" or "tags".
    """
    separators = [("|", any), (";", any), (",", all), *([(" ", any)] if folded(column) in MANY else [])]
    there = set(labels)
    found = {}
    for label in there:
        for separator, enough in separators:
            parts = [part for each in label.split(separator) if (part := each.strip())]
            if len(parts) > 1 and enough(part in there for part in parts):
                found[label] = parts
    return found


def split_reader(table: Table, chosen: Chosen, forced: str) -> Callable[[list[str]], str | None]:
    """Return a function from a row's cells to its split; None if it says none, but others may.

    Raises:
        TlkitError: The column says something else than a split.
    """
    column = chosen.split
    if forced or column is None:
        return lambda _: forced
    known: dict[str, str | None] = {"": None}
    flags = MEANT.get(folded(table.columns[column]))

    def split(cells: list[str]) -> str | None:
        said = cells[column].strip()
        if said not in known:
            known[said] = _split_of(said, flags, table, column)
        return known[said]

    return split


def _split_of(said: str, flags: tuple[str, str] | None, table: Table, column: int) -> str:
    if flags is not None and said.lower() in YES | NO:
        return flags[said.lower() not in YES]
    split = split_of(said)
    if split is None:
        raise TlkitError(
            f"{table.path}: '{said}' in column '{table.columns[column]}' is not a split",
            "write train, val or test; --split-column none ignores the column",
        )
    return split
