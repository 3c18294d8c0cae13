"""Write a bundle to a temporary folder and rename it when complete."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tlkit.bundle.beside import NEW, OLD, hidden_folder, put_in_place
from tlkit.bundle.manifest import HISTORY, LABELS, PLAN, Manifest
from tlkit.durable import sync_tree
from tlkit.errors import TlkitError
from tlkit.files import file_hash
from tlkit.formats.card import labels_text
from tlkit.images.labelled import data_name
from tlkit.jsontext import json_text
from tlkit.version import VERSION

FORMAT = 1
MANIFEST = "tlkit.json"
SUFFIX = ".tlkit"


def choose_output(
    images: Path,
    output: str | os.PathLike[str] | None,
    overwrite: bool,
    taken: Callable[[Path], bool] = os.path.lexists,
    name: str | None = None,
) -> Path:
    """Choose the bundle's folder and check, before any work, that it can be written.

    Args:
        images: The image folder, or the table of labels.
        output: The folder the user asked for; None: ``<folder or table name>.tlkit`` in the current folder, or the
            first free name with ``-2``, ``-3`` and so on.
        overwrite: Whether an existing bundle may be replaced.
        taken: Function that returns whether a name is in use.
        name: What to call the bundle instead of ``<folder or table name>``.

    Raises:
        TlkitError: The output exists (and ``overwrite`` is false or it is no bundle), is inside the image folder, or
            cannot be written.
    """
    if output is None:
        target = _free_name(Path.cwd(), name or data_name(images) or "model", overwrite, taken)
    else:
        target = Path(os.path.abspath(Path(output).expanduser()))  # noqa: PTH100
    if target.is_relative_to(images) or Path(os.path.realpath(target)).is_relative_to(os.path.realpath(images)):
        raise TlkitError(
            f"the bundle would lie inside the image folder: {target}", "choose another folder with --output"
        )
    if os.path.lexists(target):
        if not overwrite:
            raise TlkitError(f"output exists: {target}", "add --overwrite, or choose another name with --output")
        if not (target / MANIFEST).is_file():
            raise TlkitError(
                f"not a tlkit bundle, so it is not overwritten: {target}", "choose another name with --output"
            )
    if not os.path.isdir(target.parent):  # noqa: PTH112  (unlike Path.is_dir, never raises)
        raise TlkitError(
            f"no such folder for the output: {target.parent}", "create it, or choose another folder with --output"
        )
    try:
        # test with the longest temporary name that is used
        hidden_folder(target, OLD).rmdir()
    except OSError as error:
        raise TlkitError(
            f"cannot write to {target.parent}: {error.strerror or error}", "choose another folder with --output"
        ) from error
    return target


def save_bundle(
    target: Path,
    *,
    write: Callable[[Path], Manifest],
    plan: dict[str, Any],
    history: Sequence[dict[str, Any]],
    overwrite: bool = False,
) -> Path:
    """Write all files of a bundle and return its folder.

    They are on the disk before the bundle gets its name, and before anything old is removed.

    Args:
        target: The bundle's folder, from `choose_output`.
        write: Called with the folder to write ``model.keras`` and, if there is one, ``model.tflite`` into; returns the
            manifest. Format, versions, date and file hashes are added here.
        plan: Contents of ``plan.json``.
        history: Rows of ``history.csv``, all with the same keys.
        overwrite: Whether to replace an existing bundle.

    Returns:
        The bundle's folder: the target or, if something else lies there by now, a free name beside it.

    Raises:
        TlkitError: The disk is full, or in the meantime the folder became unwritable.
    """
    try:
        part = hidden_folder(target, NEW)
        try:
            manifest = write(part).to_json()
            _write_text(part / LABELS, labels_text(manifest["classes"]))
            _write_text(part / PLAN, json_text(plan, indent=2) + "\n")
            _write_history(part / HISTORY, history)
            _write_text(part / MANIFEST, _manifest_text(part, manifest))
            part.chmod(0o777 & ~_umask())
            sync_tree(part)
            return put_in_place(part, target, overwrite and (target / MANIFEST).is_file())
        finally:
            shutil.rmtree(part, ignore_errors=True)  # after an exchange, the old bundle
    except OSError as error:
        raise TlkitError(f"cannot write {target}: {error.strerror or error}") from error


def manifest_digest(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its digest, to detect changes."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _manifest_text(part: Path, manifest: dict[str, Any]) -> str:
    whole = {
        "format": FORMAT,
        "tlkit": VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **manifest,
        "files": {file.name: file_hash(file) for file in sorted(part.iterdir())},
    }
    whole["digest"] = manifest_digest(json.loads(json_text(whole)))
    return json_text(whole, indent=1) + "\n"


def _free_name(folder: Path, stem: str, overwrite: bool, taken: Callable[[Path], bool]) -> Path:
    target = folder / f"{stem}{SUFFIX}"
    number = 2
    while taken(target) and not overwrite:
        target = folder / f"{stem}-{number}{SUFFIX}"
        number += 1
    return target


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _write_history(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["step"])
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)


def _plain(value: Any) -> Any:
    """Return a table cell; values that are not finite are left empty."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
