"""Where tlkit keeps what it can compute again, and how large that may become.

Four sections: ``features``, ``images`` and ``maps`` hold entries made of shards, ``networks`` entries that are used
whole.
Only what tlkit itself writes there is ever counted or removed, for the folder is the user's choice and may be shared:
each folder that tlkit makes holds a marker with the folder's name, written before anything else. A folder without it, a
copy under another name, a file that tlkit does not write, and whatever a link leads to are the user's.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
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
GRAPH = "network.tflite"  # in an entry that is used whole: all there is of it but its note
MARKER = ".tlkit-cache"  # in every folder that tlkit makes
LEFT_OVER = 3600.0  # seconds after which a half-written file belongs to nobody
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_WRITTEN = re.compile(r"[0-9a-f]{32}\.(npy|part)")
_UNFINISHED = re.compile(r"[0-9a-f]{32}\.part")
_MADE_BY = b"made by tlkit, which removes it when the cache is full or cleared: "


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
        bytes: Size of all that tlkit wrote in it, but for the marker.
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


def make_entry(entry: Path, folder: Path | None = None) -> None:
    """Make the folder of an entry, and its section, each marked as tlkit's before anything else is in it.

    A folder that is there already is marked too: the name of an entry is a digest of what it depends on, so that only
    an earlier version of tlkit, or one that was killed, can have made it.

    Args:
        entry: Its final place, directly below a section.
        folder: Where it lies until it is whole, beside that; None: at its final place.

    Raises:
        OSError: It cannot be written.
    """
    section = entry.parent
    section.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        section.mkdir()
        _mark(section, section.name)
    (folder or entry).mkdir(exist_ok=True)
    _mark(folder or entry, entry.name)


def unfinished(entry: Path) -> Path:
    """A name beside an entry for what will become it, or was it."""
    return entry.with_name(f"{uuid.uuid4().hex}.part")


def may_remove(entry: Path) -> bool:
    """Whether tlkit made the folder of an entry, and no link leads to it."""
    return not entry.parent.is_symlink() and _is_marked(entry)


def is_shard(name: str) -> bool:
    """Whether a file of this name in an entry is one of its shards."""
    return bool(_WRITTEN.fullmatch(name)) and name.endswith(".npy")


def remove_entry(entry: Path) -> None:
    """Remove an entry that is used whole, if it is tlkit's."""
    if may_remove(entry):
        _remove(entry)


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
        if _is_marked(root / section):
            _rmdir(root / section)
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
        if _is_entry(folder)
        for file in _listing(folder)
        if _is_ours(file) and file.name.endswith(".part")
    ]
    for section in WHOLE:
        paths += [folder for folder in _folders(root / section) if folder.suffix == ".part" and _is_marked(folder)]
    return [unit for unit in map(_unit, paths) if unit is not None]


def _sweep(entry: Entry) -> int:
    """Remove an entry's folder if nothing but its note is left; returns the bytes freed."""
    if not _is_entry(entry.path) or any(file.name not in (NOTE, MARKER) for file in _listing(entry.path)):
        return 0
    note = _unit(entry.path / NOTE) if entry.section in SHARDED else None
    with contextlib.suppress(OSError):
        if note is not None:
            note.path.unlink()
        _rmdir(entry.path)
    return note.bytes if note is not None else 0


def _rmdir(folder: Path) -> bool:
    """Remove a marked folder if nothing else is in it; whether it is gone."""
    if any(file.name != MARKER for file in _listing(folder)):
        return False
    try:
        (folder / MARKER).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:  # another process has just put something into it
        with contextlib.suppress(OSError):
            _mark(folder, folder.name)
        return False
    return True


def _mark(folder: Path, name: str) -> None:
    """Put tlkit's marker into a folder that it makes; one that is there stays.

    Raises:
        OSError: It cannot be written.
    """
    marker = folder / MARKER
    try:
        with marker.open("xb") as file:
            file.write(_MADE_BY + os.fsencode(name) + b"\n")
    except FileExistsError:
        return
    except OSError:
        with contextlib.suppress(OSError):
            marker.unlink()
        raise


def _is_marked(folder: Path) -> bool:
    """Whether tlkit made a folder: its marker is in it and names it, or the folder is unfinished."""
    marker = folder / MARKER
    try:
        if folder.is_symlink() or not stat.S_ISREG(marker.lstat().st_mode):
            return False
        text = marker.read_bytes()
    except OSError:
        return False
    name = text.removeprefix(_MADE_BY)
    return len(name) < len(text) and (name == os.fsencode(folder.name) + b"\n" or _is_unfinished(folder))


def _is_unfinished(folder: Path) -> bool:
    return bool(_UNFINISHED.fullmatch(folder.name))


def _is_entry(folder: Path) -> bool:
    """Whether a folder in a section is an entry: tlkit made it, and it is whole."""
    return not _is_unfinished(folder) and _is_marked(folder)


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
    """Size and last use of a file, or of an entry that is used whole; None if it is gone."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        return Unit(path, status.st_size, status.st_mtime_ns)
    size = 0
    for name in (GRAPH, NOTE):
        with contextlib.suppress(OSError):  # another process may be removing it
            size += (path / name).lstat().st_size
    return Unit(path, size, status.st_mtime_ns)


def _remove(path: Path) -> bool:
    """Remove a file, or what tlkit wrote in a folder, and the folder if nothing else is in it; whether it is gone."""
    try:
        if not path.is_dir() or path.is_symlink():
            path.unlink()
            return True
        if all(file.name in (GRAPH, NOTE, MARKER) for file in _listing(path)):
            # under another name first: whoever looks for it finds all of it or nothing
            path = path.rename(unfinished(path))
        for name in (GRAPH, NOTE):
            (path / name).unlink(missing_ok=True)
        if not _rmdir(path):  # the rest is the user's, and so is the folder now
            (path / MARKER).unlink(missing_ok=True)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # in use, as on Windows
    return True
