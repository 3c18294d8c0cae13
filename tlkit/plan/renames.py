"""New names of classes, as ``--rename`` takes them: ``old=new``, or a CSV or JSON file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from tlkit.bounded import parse_json, read_limited, why_not_json
from tlkit.errors import TlkitError
from tlkit.plan.option import unknown_choice

SUFFIXES = (".csv", ".json")
MAX_BYTES = 4 << 20
HEADER = ["old", "new"]
HINT = "--rename old=new, or a CSV or JSON file of old and new names"


def is_rename_file(text: str) -> bool:
    """Whether a value of ``--rename`` is a file, not names of classes."""
    return "=" not in text and text.lower().endswith(SUFFIXES)


def read_renames(text: str) -> dict[str, str]:
    """Return the new name of each class that gets one.

    Args:
        text: ``old=new``, several of them separated by commas, or a file: CSV with the columns ``old`` and ``new``, or
            JSON, an object of old and new names. Names with a comma or an equals sign need a file.

    Raises:
        TlkitError: It cannot be understood, the file cannot be read, or a class gets two names.
    """
    pairs = _from_file(Path(text)) if is_rename_file(text) else [part.split("=") for part in text.split(",")]
    found: dict[str, str] = {}
    for pair in pairs:
        names = [each.strip() for each in pair]
        if len(names) != 2 or not all(names):
            raise TlkitError(f"--rename cannot be understood: '{'='.join(pair)[:60]}'", HINT)
        old, new = names
        if found.setdefault(old, new) != new:
            raise TlkitError(f"--rename gives '{old}' two names: {found[old]}, {new}", "leave one of them out")
    if not found:
        raise TlkitError("--rename names no class", HINT)
    return found


def renamed(classes: Sequence[str], renames: dict[str, str]) -> tuple[str, ...]:
    """Return the new name of each class.

    Args:
        classes: Names of all classes.
        renames: From `read_renames`. All are applied at once, so that two classes can swap names.

    Raises:
        TlkitError: There is no class of an old name.
    """
    for old in renames:
        if old not in classes:
            raise unknown_choice("class in --rename:", old, tuple(classes))
    return tuple(renames.get(name, name) for name in classes)


def _from_file(path: Path) -> list[list[str]]:
    try:
        data = read_limited(path, MAX_BYTES)
        if path.suffix.lower() == ".json":
            found = parse_json(data)
            if not isinstance(found, dict) or not all(isinstance(new, str) for new in found.values()):
                raise ValueError("it is not an object of old and new names")
            return [[old, new] for old, new in found.items()]
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True) if row]
    except OSError as error:
        raise TlkitError(f"cannot read {path}: {error.strerror or error}") from error
    except csv.Error as error:
        raise TlkitError(f"cannot read {path}: it is no CSV: {error}", HINT) from error
    except ValueError as error:
        raise TlkitError(f"cannot read {path}: {why_not_json(error)}", HINT) from error
    return rows[1:] if rows and [cell.strip().lower() for cell in rows[0]] == HEADER else rows
