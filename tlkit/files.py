"""Check the paths of output files before any work is done, and write the files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.durable import new_file
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.remote import is_remote, local_text, refuse_remote, remote_path


@dataclass(frozen=True)
class ImagePlaces:
    """Where images lie, and nothing is to be written: what is written there may be taken for a class or an image.

    Attributes:
        within: Folders of images, with all that is below them.
        beside: Folders that only hold the images that a table names.
    """

    within: tuple[Path, ...] = ()
    beside: tuple[Path, ...] = ()

    def hold(self, path: Path) -> bool:
        """Return whether a path lies there."""
        place = os.path.realpath(path.parent)
        if any(Path(place).is_relative_to(os.path.realpath(each)) for each in self.within if os.path.isdir(each)):  # noqa: PTH112
            return True
        return any(os.path.realpath(each) == place for each in self.beside)


def check_free(path: Path, images: ImagePlaces | None, option: str = "--report") -> None:
    """Check that a new file can be written, before any work is done.

    Args:
        path: The new file. It must not exist, its folder must exist and be writable.
        images: Where images lie, which the file must not be among; None: it may lie anywhere.
        option: Name of the option, for messages.

    Raises:
        TlkitError: The file cannot be written.
    """
    refuse_remote(path, option)
    check_path(path, option)
    if os.path.lexists(path):
        raise TlkitError(f"output exists: {path}", f"choose another name for {option}")
    if not os.path.isdir(path.parent):  # noqa: PTH112  (in contrast to Path.is_dir, raises nothing)
        raise TlkitError(f"no such folder: {path.parent}", f"create it, or choose another path for {option}")
    if images is not None and images.hold(path):
        raise TlkitError(f"{option} is inside the image folder: {path}", "choose another path")
    # not under its own name, which another run may be about to use, but under one of the same length
    trial = path.with_name(f".tlkit-{secrets.token_hex(4)}".ljust(len(os.fsencode(path.name)), "-"))
    try:
        trial.open("x").close()
        trial.unlink()
    except (OSError, ValueError) as error:  # ValueError: a null byte in it
        reason = getattr(error, "strerror", None) or error
        raise TlkitError(f"cannot write {path}: {reason}", f"choose another path for {option}") from None


def check_path(path: str | os.PathLike[str], option: str) -> None:
    """Refuse a path that the system cannot even look up: too long, a loop of links, a folder that may not be entered.

    A path where nothing lies is fine: it may be created.

    Args:
        path: What the user gave.
        option: Name of the option or argument, for the message.

    Raises:
        TlkitError: It cannot be looked up.
    """
    if is_remote(remote_path(path)):
        return
    try:
        os.stat(path)  # noqa: PTH116  (takes text that is no path either)
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in it
        reason = getattr(error, "strerror", None) or str(error)
        hint = f"choose another path for {option}"
        raise TlkitError(f"cannot look up {_shortened(os.fspath(path))}: {reason}", hint) from None


def _shortened(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:60]}...{text[-40:]}"


def check_outputs(images: ImagePlaces | None, outputs: dict[str, Path | None]) -> None:
    """Check the files of several options as `check_free` does, and that no two are the same.

    Args:
        images: As for `check_free`.
        outputs: File of each option; None: the option is not used.

    Raises:
        TlkitError: A file cannot be written, or two are the same.
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
    r"""Write a new text file, which gets its name when it is complete.

    What UTF-8 cannot encode, as in some file names, becomes escapes such as ``\udcff``.

    Raises:
        TlkitError: The file exists or cannot be written.
    """
    with new_file(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def replace_json(file: Path, data: dict[str, Any]) -> None:
    """Replace a small JSON file atomically.

    Raises:
        TlkitError: The file cannot be written.
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
    """Return the absolute path, with ``~`` expanded."""
    return str(remote_path(path) or Path(local_text(path)).expanduser().absolute())


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hex.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
