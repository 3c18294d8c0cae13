"""Files written whole: a new one that nobody had, or a small one replaced at once."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from tlkit.errors import TlkitError


def check_free(path: Path, images: Path | None, option: str = "--report") -> None:
    """Refuse a file that exists, has no folder or would lie among the images, before any work.

    Raises:
        TlkitError: It cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise TlkitError(f"output exists: {path}", f"choose another name for {option}")
    if not path.parent.is_dir():
        raise TlkitError(f"no such folder: {path.parent}", f"make it, or choose another place for {option}")
    if images is not None and images.is_dir() and path.parent.resolve().is_relative_to(images.resolve()):
        raise TlkitError(f"{option} would lie inside the image folder: {path}", "choose another place")


def write_new(path: Path, text: str, errors: str = "backslashreplace") -> None:
    """Write a new file.

    Args:
        path: Where.
        text: What.
        errors: How what is not text is written, such as undecodable bytes of a file name.

    Raises:
        TlkitError: It is there already, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8", errors=errors) as file:
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
            json.dump(data, out, indent=1)
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
