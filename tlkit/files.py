"""Files written whole: a new one that nobody had, or a small one replaced at once."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

from tlkit.errors import TlkitError
from tlkit.jsontext import json_text


def check_free(path: Path, images: Path | None, option: str = "--report") -> None:
    """Refuse a file that exists, has no folder, cannot be written or would lie among the images, before any work.

    Raises:
        TlkitError: It cannot be written.
    """
    if os.path.lexists(path):
        raise TlkitError(f"output exists: {path}", f"choose another name for {option}")
    if not os.path.isdir(path.parent):  # noqa: PTH112  (in contrast to Path.is_dir, raises nothing)
        raise TlkitError(f"no such folder: {path.parent}", f"make it, or choose another place for {option}")
    if images is not None and images.is_dir() and path.parent.resolve().is_relative_to(images.resolve()):
        raise TlkitError(f"{option} would lie inside the image folder: {path}", "choose another place")
    # not under its own name, which another run may be about to give to its file; but with one of that length
    trial = path.with_name(f".tlkit-{secrets.token_hex(4)}".ljust(len(os.fsencode(path.name)), "-"))
    try:
        trial.open("x").close()
        trial.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise TlkitError(f"cannot write {path}: {reason}", f"choose another place for {option}") from None


def check_outputs(images: Path | None, outputs: dict[str, Path | None]) -> None:
    """As `check_free`, of several options, which must not name the same file.

    Args:
        images: The folder of the images.
        outputs: File by option; None: not asked for.

    Raises:
        TlkitError: One cannot be written.
    """
    seen: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        check_free(path, images, option)
        place = path.parent.resolve() / path.name
        if place in seen:
            raise TlkitError(f"{seen[place]} and {option} name the same file: {path}", "give them different names")
        seen[place] = option


def write_new(path: Path, text: str) -> None:
    r"""Write a new file; what is no Unicode, as in the names of some files, becomes escapes such as ``\udcff``.

    Raises:
        TlkitError: It is there already, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise TlkitError(f"cannot write {path}: {error.strerror or error}") from None


def replace_json(file: Path, data: dict[str, Any]) -> None:
    """Replace a small JSON file at once.

    Raises:
        TlkitError: It cannot be written.
    """
    part = file.with_suffix(".part")
    try:
        with part.open("w", encoding="utf-8") as out:
            out.write(json_text(data, indent=1))
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise TlkitError(f"cannot write {file}: {error.strerror or error}") from error


def absolute(path: str | os.PathLike[str]) -> str:
    """A path that means the same from another folder."""
    return str(Path(path).expanduser().absolute())
