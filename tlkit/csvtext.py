r"""CSV that any program may open: names that are no text are escaped, and no cell is taken for a formula.

File and class names may hold anything. What UTF-8 cannot encode (bytes that are no text) or what would break a line
(control characters and line breaks) is written as an escape, such as ``\udcff`` or ``\x0a``. A backslash that would
read like the start of an escape becomes ``\x5c``; all others stay. `original` undoes this.

Spreadsheets run a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, whoever chose its text. Such a cell
gets an apostrophe in front, unless it is a plain number.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Final

_ESCAPED: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|\\\\(?=x[0-9a-f]{2}|u[0-9a-f]{4})",
)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4}))")
# the wide forms are run too, where a spreadsheet is set to some languages of East Asia
_FORMULA: Final = re.compile("'*[=+\\-@＝＋－＠]")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def escaped(text: str) -> str:
    r"""Escape what is no text or would break a line.

    Example:
        >>> escaped("caf\udce9"), escaped("one\ntwo"), escaped("C:\\new")
        ('caf\\udce9', 'one\\x0atwo', 'C:\\new')
    """
    return text if text.isascii() and text.isprintable() and "\\" not in text else _ESCAPED.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def cell(text: str, *, raw: bool = False) -> str:
    """Return a text as it is written into a cell, before CSV's own quotes.

    Args:
        text: Any text. Numbers need none of this.
        raw: Whether to leave cells that begin like a formula as they are.

    Example:
        >>> cell("=1+1"), cell("-0.5"), cell("=1+1", raw=True)
        ("'=1+1", '-0.5', '=1+1')
    """
    text = escaped(text)
    return f"'{text}" if not raw and _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def original(text: str, *, raw: bool = False) -> str:
    """Return the text that `cell` wrote.

    Args:
        text: The cell as a CSV reader returns it.
        raw: As given to `cell`.
    """
    if not raw and text.startswith("'") and _FORMULA.match(text):
        text = text[1:]
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)


def line(cells: Iterable[object], *, raw: bool = False) -> str:
    """Return one line of CSV with its end. Texts are written by `cell`, None as an empty cell, numbers as they are."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        [cell(each, raw=raw) if isinstance(each, str) else each for each in cells]
    )
    return text.getvalue()
