"""Verify a bundle, which may come from a stranger: every file, before anything in it is used."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from tlkit.bounded import limited_hash, read_json, read_limited, why_not_json
from tlkit.bundle.manifest import FILES, HISTORY, LABELS, MAX_MANIFEST, PLAN, checked_manifest
from tlkit.bundle.save import FORMAT, MANIFEST, SUFFIX, manifest_digest
from tlkit.errors import TlkitError
from tlkit.formats.card import labels_text
from tlkit.plan.plan import Plan
from tlkit.schema import WrongDataError

AGAIN = "train again, or copy the whole folder again"
STRANGER = "ask whoever made it for a new copy, or train again"


def verified_manifest(path: Path) -> dict[str, Any]:
    """Return the contents of a bundle's ``tlkit.json`` after checking it and every file that it lists.

    Files are regular files of bounded size with the hash that the manifest gives; the manifest's values have their
    types and bounds; ``labels.txt`` and ``history.csv`` agree with it.

    Raises:
        TlkitError: It is no bundle, has a newer format, or a file is missing, changed or not as it must be.
    """
    manifest = read_manifest(path)
    version = manifest.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise TlkitError(f"not a tlkit bundle: {path} ({MANIFEST} has no format version)")
    if version > FORMAT:
        shown = version if version < 10**6 else "of a very large number"
        hint = f"upgrade tlkit: pip install --upgrade tlkit (this one reads up to format {FORMAT})"
        raise TlkitError(f"{path} has bundle format {shown}, newer than this tlkit", hint)
    if manifest.get("digest") != manifest_digest(manifest):
        raise TlkitError(f"damaged bundle {path}: {MANIFEST} was changed", AGAIN)
    try:
        checked_manifest(manifest)
    except WrongDataError as error:
        raise damaged(path, MANIFEST, error) from error
    for name, expected in manifest["files"].items():
        try:
            actual = limited_hash(path / name, FILES[name])
        except FileNotFoundError:
            raise TlkitError(f"damaged bundle {path}: {name} is missing", AGAIN) from None
        except OSError as error:
            raise TlkitError(f"cannot read {path / name}: {error.strerror or error}") from error
        if actual != expected:
            raise TlkitError(f"damaged bundle {path}: {name} was changed", AGAIN)
    _check_labels(path, manifest["classes"])
    if HISTORY in manifest["files"]:
        _check_history(path)
    return manifest


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the contents of a bundle's ``tlkit.json``, an object of any kind.

    Raises:
        TlkitError: There is no bundle, or its ``tlkit.json`` is not JSON or too large.
    """
    try:
        manifest = read_json(path / MANIFEST, MAX_MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        if not path.exists():
            raise TlkitError(f"no such bundle: {path}", f"a bundle is a folder that ends in {SUFFIX}") from None
        raise TlkitError(f"not a tlkit bundle: {path} (no {MANIFEST} in it)") from None
    except OSError as error:
        raise TlkitError(f"cannot read {path / MANIFEST}: {error.strerror or error}") from error
    except ValueError as error:
        reason = why_not_json(error).replace("it is", f"{MANIFEST} is").replace("it has", f"{MANIFEST} has")
        raise TlkitError(f"damaged bundle {path}: {reason}", AGAIN) from None
    if not isinstance(manifest, dict):
        raise TlkitError(f"damaged bundle {path}: {MANIFEST} is not an object", AGAIN)
    return manifest


def bundle_plan(path: Path) -> Plan:
    """Return the plan of a bundle.

    Raises:
        TlkitError: It cannot be read, or is not a plan of this version.
    """
    try:
        return Plan.from_json(read_json(path / PLAN, FILES[PLAN]))
    except OSError as error:
        raise TlkitError(f"cannot read {path / PLAN}: {error.strerror or error}") from error
    except TlkitError as error:
        raise TlkitError(f"cannot use {path / PLAN}: {error.message}", error.hint) from error
    except ValueError as error:
        raise TlkitError(f"cannot use {path / PLAN}: {why_not_json(error)}", STRANGER) from error


def damaged(path: Path, name: str, error: object) -> TlkitError:
    """Return the error for a file of a bundle that has its hash, but not the contents that it must have."""
    return TlkitError(f"damaged bundle {path}: in {name}, {error}", STRANGER)


def _check_labels(path: Path, classes: list[str]) -> None:
    """Check that ``labels.txt``, which other programs read, has the same classes as the manifest."""
    wanted = labels_text(classes).encode("utf-8", "backslashreplace")
    if _content(path / LABELS, FILES[LABELS]) != wanted:
        raise damaged(path, LABELS, f"the names are not the {len(classes)} classes of {MANIFEST}")


def _check_history(path: Path) -> None:
    """Check that ``history.csv`` is a table of numbers."""
    data = _content(path / HISTORY, FILES[HISTORY])
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True)
        header = next(rows, [])
        for number, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise ValueError(f"line {number} has {len(row)} columns, and the first has {len(header)}")
            for cell in row:
                float(cell or 0)
    except (ValueError, csv.Error) as error:
        raise damaged(path, HISTORY, f"there is no table of numbers: {str(error)[:120]}") from error


def _content(file: Path, limit: int) -> bytes:
    try:
        return read_limited(file, limit)
    except OSError as error:
        raise TlkitError(f"cannot read {file}: {error.strerror or error}") from error
