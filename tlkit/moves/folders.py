"""Names of folders and files that every system can have, for classes that may be called anything."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MAX_BYTES = 200  # of a name: room is left for a number, and for what a program adds while it writes
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def folder_names(classes: Sequence[str], others: Sequence[str] = ()) -> list[str]:
    """Return a folder name for each class and then for each of ``others``, all different on every file system.

    Names stay as they are if they can; characters that Windows or any other system forbids become ``_``.

    Args:
        classes: Class names, which may hold anything.
        others: Names of further folders; one that a class has already gets ``_`` in front.

    Example:
        >>> folder_names(["cat", "Cat", "a/b", "unknown"], ["unknown"])
        ['cat', 'Cat-2', 'a_b', 'unknown', '_unknown']
    """
    taken: set[str] = set()
    found = []
    for name in classes:
        plain = _possible(name)
        found.append(_free(plain, taken))
    for name in others:
        found.append(_free("_" * _lowest_free(name, taken) + name, taken))
    return found


def _lowest_free(name: str, taken: set[str]) -> int:
    """Return how many ``_`` a name needs in front to be free."""
    return next(number for number in itertools.count() if _key("_" * number + name) not in taken)


def free_name(path: Path, number: int) -> Path:
    """Return the name to try as the ``number``-th: ``a.jpg``, then ``a-2.jpg``, ``a-3.jpg`` and so on."""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def _free(name: str, taken: set[str]) -> str:
    found, number = name, 1
    while _key(found) in taken:
        number += 1
        found = f"{name}-{number}"
    taken.add(_key(found))
    return found


def _key(name: str) -> str:
    """What a file system that ignores case and Unicode's forms compares."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _possible(name: str) -> str:
    found = _FORBIDDEN.sub("_", name).rstrip(". ").lstrip(" ")
    if not found.strip("."):
        found = "_"
    if _DEVICES.fullmatch(found) or found.startswith("."):  # a hidden folder is none that a person finds
        found = f"_{found}"
    while len(found.encode()) > MAX_BYTES:
        found = found[:-1]
    return found
