"""The values of ``--groups``, checked before anything is read."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from tlkit.errors import TlkitError
from tlkit.files import absolute
from tlkit.images.table.text import SUFFIXES

FOLDER, NAMES, EXIF_DATE, EXIF_CAMERA = "folder", "names", "exif-date", "exif-camera"
KEYWORDS = (FOLDER, NAMES, EXIF_DATE, EXIF_CAMERA)
CHOICES = f"one of {', '.join(KEYWORDS)}, FILE.csv:COLUMN, or a regular expression such as '(site[0-9]+)'"
TABLE = "table"  # groups that a labels table gave


def group_spec(text: str) -> str:
    """Check a value of ``--groups``; the path of a table is made absolute.

    Raises:
        TlkitError: It is no keyword, table with a column, or regular expression.
    """
    if text in KEYWORDS:
        return text
    if (table := split_table(text)) is not None:
        return f"{absolute(table[0])}:{table[1]}"
    if Path(text).suffix.lower() in SUFFIXES:
        raise TlkitError(f"--groups {text} does not name a column", f"--groups {text}:COLUMN")
    if close := get_close_matches(text.lower(), KEYWORDS, n=1, cutoff=0.75):
        raise TlkitError(f"unknown --groups '{text}'", f"did you mean '{close[0]}'? {CHOICES}")
    try:
        re.compile(text)
    except re.error as error:
        raise TlkitError(f"--groups '{text}' is not a regular expression: {error}", CHOICES) from None
    if not text:
        raise TlkitError("--groups is empty", CHOICES)
    return text


def split_table(spec: str) -> tuple[str, str] | None:
    """Return file and column of a value that names a table, else None."""
    file, colon, column = spec.rpartition(":")
    return (file, column) if colon and column and Path(file).suffix.lower() in SUFFIXES else None
