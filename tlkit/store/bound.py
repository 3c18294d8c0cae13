"""Where tlkit keeps what it can compute again, and how large that may become.

Four sections: ``features``, ``images`` and ``maps`` hold entries made of shards, ``networks`` entries that are used
whole.
Only what tlkit itself writes there is ever counted or removed, for the folder is the user's choice and may be shared.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from tlkit.errors import TlkitError

DEFAULT_SIZE = "4GB"
SHARDED, WHOLE = ("features", "images", "pictures", "maps"), ("networks",)  # "pictures": what "images" was called
SECTIONS = (*SHARDED, *WHOLE)
NOTE = "key.json"  # in an entry: what it depends on, for people
LEFT_OVER = 3600.0  # seconds after which a half-written file belongs to nobody
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_WRITTEN = re.compile(r"[0-9a-f]{32}\.(npy|part)")
_DIGEST = re.compile(r"(.*[^0-9a-f])?[0-9a-f]{8,}")


@dataclass(frozen=True)
class Unit:
    """What is removed at once: its path, size in bytes, and last use in nanoseconds since the epoch."""

    path: Path
    bytes: int
    used: int


@dataclass(frozen=True)
class Entry:
    """A folder directly below a section.

    Attributes:
        section: One of `SECTIONS`.
        path: The folder.
        bytes: Size of all that tlkit wrote in it.
        used: Last use, in nanoseconds since the epoch.
        units: What can be removed one by one: the shards, or the folder itself.
    """

    section: str
    path: Path
    bytes: int
    used: int
    units: tuple[Unit, ...]


def cache_folder() -> Path:
    """``TLKIT_CACHE``, else the platform's user cache folder. May be deleted at any time."""
    chosen = os.environ.get("TLKIT_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("tlkit"))


def cache_limit() -> int:
    """Bytes the cache may hold: ``TLKIT_CACHE_SIZE`` such as ``500MB`` or ``4GB`` (the default).

    Raises:
        TlkitError: The variable is not a size.
    """
    text = os.environ.get("TLKIT_CACHE_SIZE", DEFAULT_SIZE)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if not match:
        raise TlkitError(f"TLKIT_CACHE_SIZE is not a size: '{text}'", "write it as 500MB or 4GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def entries(root: Path) -> list[Entry]:
    """All that is kept below the cache folder ``root``; what vanishes meanwhile is left out."""
    found = [_sharded(section, folder) for section in SHARDED for folder in _folders(root / section)]
    found += [_whole(section, folder) for section in WHOLE for folder in _folders(root / section)]
    return [entry for entry in found if entry is not None]


def prune(root: Path, limit: int) -> list[Path]:
    """Remove the least recently used shards and networks until the cache holds at most ``limit`` bytes.

    Files left half-written over an hour ago and entries without any shard go too. Other processes may write, read
    and prune at the same time: what is gone already counts as removed, what cannot be removed is left.

    Args:
        root: The cache folder.
        limit: Bytes that may stay, in all sections together.

    Returns:
        The shards and networks removed, in that order.
    """
    waste = [unit for unit in _half_written(root) if unit.used < time.time_ns() - LEFT_OVER * 1e9]
    for unit in waste:
        _remove(unit.path)
    kept = entries(root)
    total = sum(entry.bytes for entry in kept)
    removed = []
    for unit in sorted((unit for entry in kept for unit in entry.units), key=lambda unit: (unit.used, unit.path)):
        if total <= limit:
            break
        if _remove(unit.path):
            total -= unit.bytes
            removed.append(unit.path)
    for entry in kept:
        _sweep(entry)
    return removed


def clear(root: Path) -> int:
    """Remove all that `entries` lists, and what was left half-written.

    Returns:
        Bytes freed.
    """
    freed = 0
    doomed = [unit for entry in entries(root) for unit in entry.units]
    for unit in doomed + _half_written(root):
        freed += unit.bytes if _remove(unit.path) else 0
    for entry in entries(root):
        freed += _sweep(entry)
    for section in SECTIONS:
        if not (root / section).is_symlink():
            with contextlib.suppress(OSError):  # not empty: something else is in it
                (root / section).rmdir()
    return freed


def _sharded(section: str, folder: Path) -> Entry | None:
    """An entry made of shards; None if it is not tlkit's."""
    if not _is_entry(folder):
        return None
    units = [_unit(Path(file.path)) for file in _listing(folder) if _is_ours(file)]
    present = [unit for unit in units if unit is not None]
    shards = tuple(unit for unit in present if unit.path.suffix == ".npy")
    used = max((unit.used for unit in shards), default=0)
    return Entry(section, folder, sum(unit.bytes for unit in present), used, shards)


def _whole(section: str, folder: Path) -> Entry | None:
    """An entry that is used whole; None if it is not tlkit's."""
    unit = _unit(folder) if _is_entry(folder) else None
    return None if unit is None else Entry(section, folder, unit.bytes, unit.used, (unit,))


def _half_written(root: Path) -> list[Unit]:
    """Files and folders under the name they have until they are whole."""
    paths = [
        Path(file.path)
        for section in SHARDED
        for folder in _folders(root / section)
        for file in _listing(folder)
        if _is_ours(file) and file.name.endswith(".part")
    ]
    for section in WHOLE:
        paths += [folder for folder in _folders(root / section) if folder.suffix == ".part"]
    return [unit for unit in map(_unit, paths) if unit is not None]


def _sweep(entry: Entry) -> int:
    """Remove an entry's folder if nothing but its note is left; returns the bytes freed."""
    if any(file.name != NOTE for file in _listing(entry.path)):
        return 0
    note = _unit(entry.path / NOTE) if entry.section in SHARDED else None
    with contextlib.suppress(OSError):
        if note is not None:
            note.path.unlink()
        entry.path.rmdir()
    return note.bytes if note is not None else 0


def _is_entry(folder: Path) -> bool:
    """Whether tlkit made a folder in a section: its name ends in a digest, or its note is in it."""
    return folder.suffix != ".part" and (bool(_DIGEST.fullmatch(folder.name)) or (folder / NOTE).is_file())


def _is_ours(file: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        return file.is_file(follow_symlinks=False) and (file.name == NOTE or bool(_WRITTEN.fullmatch(file.name)))
    return False


def _folders(section: Path) -> list[Path]:
    """The folders directly below a section, in the order of their names; links are not followed."""
    if section.is_symlink():
        return []
    return sorted(
        folder for file in _listing(section) if not (folder := Path(file.path)).is_symlink() and folder.is_dir()
    )


def _listing(folder: Path) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as files:
        yield from files


def _unit(path: Path) -> Unit | None:
    """Size and last use of a file, or of a folder with all in it; None if it is gone."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if not path.is_dir():
        return Unit(path, status.st_size, status.st_mtime_ns)
    size = 0
    for inner, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):  # another process may be removing it
                size += Path(inner, name).lstat().st_size
    return Unit(path, size, status.st_mtime_ns)


def _remove(path: Path) -> bool:
    """Remove a file or a folder; whether it is gone."""
    try:
        if path.is_dir() and not path.is_symlink():
            # under another name first: whoever looks for it finds all of it or nothing
            doomed = path.with_name(f"{uuid.uuid4().hex}.part")
            path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
        else:
            path.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # in use, as on Windows
    return True
