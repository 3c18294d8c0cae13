"""The cache of results that can be computed again, and its size limit.

The cache has four sections: entries in ``features``, ``images`` and ``maps`` consist of shards, entries in ``networks``
are single units. The user chooses the cache folder and may share it with other data, so tlkit only counts and removes
what it wrote itself. Each folder that tlkit creates gets a marker file with the folder's name before anything else.
Folders without a marker, copies under another name, files that tlkit does not write, and targets of links belong to the
user.
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
SHARDED, WHOLE = ("features", "images", "pictures", "maps"), ("networks",)  # "pictures": the former name of "images"
SECTIONS = (*SHARDED, *WHOLE)
NOTE = "key.json"  # in each entry: what it depends on, for people to read
GRAPH = "network.tflite"  # in each entry of "networks": the network
MARKER = ".tlkit-cache"  # in every folder that tlkit creates
ABANDONED = 3600.0  # seconds after which an unfinished file counts as abandoned
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_WRITTEN = re.compile(r"[0-9a-f]{32}\.(npy|part)")
_UNFINISHED = re.compile(r"[0-9a-f]{32}\.part")
_MADE_BY = b"made by tlkit, which removes it when the cache is full or cleared: "


@dataclass(frozen=True)
class Unit:
    """The smallest part that can be removed: path, size in bytes, and last use in nanoseconds since the epoch."""

    path: Path
    bytes: int
    used: int


@dataclass(frozen=True)
class Entry:
    """A folder directly below a section.

    Attributes:
        section: One of `SECTIONS`.
        path: The folder.
        bytes: Size of everything that tlkit wrote in it, except the marker.
        used: Last use, in nanoseconds since the epoch.
        units: The parts that can be removed one by one: the shards, or the folder itself.
    """

    section: str
    path: Path
    bytes: int
    used: int
    units: tuple[Unit, ...]


def cache_folder() -> Path:
    """Return the cache folder: ``TLKIT_CACHE``, else the platform's user cache folder. Safe to delete at any time."""
    chosen = os.environ.get("TLKIT_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("tlkit"))


def cache_limit() -> int:
    """Return the size limit of the cache in bytes: ``TLKIT_CACHE_SIZE``, such as ``500MB`` or ``4GB`` (the default).

    Raises:
        TlkitError: The variable is not a size.
    """
    text = os.environ.get("TLKIT_CACHE_SIZE", DEFAULT_SIZE)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if not match:
        raise TlkitError(f"TLKIT_CACHE_SIZE is not a size: '{text}'", "write it as 500MB or 4GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def make_entry(entry: Path, folder: Path | None = None) -> None:
    """Create the folder of an entry, and its section, each with tlkit's marker before anything else.

    An existing folder is marked too: the name of an entry is a digest of what it depends on, so only an earlier version
    of tlkit, or a run that was killed, can have created it.

    Args:
        entry: Its final path, directly below a section.
        folder: A temporary path next to it, used until the entry is complete; None: create it at its final path.

    Raises:
        OSError: The folder cannot be written.
    """
    section = entry.parent
    section.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        section.mkdir()
        _mark(section, section.name)
    (folder or entry).mkdir(exist_ok=True)
    _mark(folder or entry, entry.name)


def unfinished(entry: Path) -> Path:
    """Return a new temporary path next to an entry, for an entry that is being written or removed."""
    return entry.with_name(f"{uuid.uuid4().hex}.part")


def may_remove(entry: Path) -> bool:
    """Return whether tlkit created the folder of an entry, and it is not reached through a link."""
    return not entry.parent.is_symlink() and _is_marked(entry)


def is_shard(name: str) -> bool:
    """Return whether a file of this name in an entry is one of its shards."""
    return bool(_WRITTEN.fullmatch(name)) and name.endswith(".npy")


def remove_entry(entry: Path) -> None:
    """Remove an entry of ``networks``, if tlkit created it."""
    if may_remove(entry):
        _remove(entry)


def entries(root: Path) -> list[Entry]:
    """Return all entries below the cache folder ``root``; entries that vanish meanwhile are left out."""
    found = [_sharded(section, folder) for section in SHARDED for folder in _folders(root / section)]
    found += [_whole(section, folder) for section in WHOLE for folder in _folders(root / section)]
    return [entry for entry in found if entry is not None]


def prune(root: Path, limit: int) -> list[Path]:
    """Remove the least recently used shards and networks until the cache holds at most ``limit`` bytes.

    Unfinished files over an hour old and entries without shards are removed too. Other processes may write, read and
    prune at the same time: parts that are already gone count as removed, parts that cannot be removed stay.

    Args:
        root: The cache folder.
        limit: Size limit of all sections together, in bytes.

    Returns:
        The shards and networks removed, in order of removal.
    """
    abandoned = [unit for unit in _half_written(root) if unit.used < time.time_ns() - ABANDONED * 1e9]
    for unit in abandoned:
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
    """Remove all entries that `entries` returns, and all unfinished ones.

    Returns:
        Bytes freed.
    """
    freed = 0
    units = [unit for entry in entries(root) for unit in entry.units]
    for unit in units + _half_written(root):
        freed += unit.bytes if _remove(unit.path) else 0
    for entry in entries(root):
        freed += _sweep(entry)
    for section in SECTIONS:
        if _is_marked(root / section):
            _rmdir(root / section)
    return freed


def _sharded(section: str, folder: Path) -> Entry | None:
    """Return an entry that consists of shards; None if tlkit did not create it."""
    if not _is_entry(folder):
        return None
    units = [_unit(Path(file.path)) for file in _listing(folder) if _is_ours(file)]
    present = [unit for unit in units if unit is not None]
    shards = tuple(unit for unit in present if unit.path.suffix == ".npy")
    used = max((unit.used for unit in shards), default=0)
    return Entry(section, folder, sum(unit.bytes for unit in present), used, shards)


def _whole(section: str, folder: Path) -> Entry | None:
    """Return an entry that is a single unit; None if tlkit did not create it."""
    unit = _unit(folder) if _is_entry(folder) else None
    return None if unit is None else Entry(section, folder, unit.bytes, unit.used, (unit,))


def _half_written(root: Path) -> list[Unit]:
    """Return unfinished files and folders, recognised by their temporary names."""
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
    """Remove an entry's folder if only its note is left; return the bytes freed."""
    if not _is_entry(entry.path) or any(file.name not in (NOTE, MARKER) for file in _listing(entry.path)):
        return 0
    note = _unit(entry.path / NOTE) if entry.section in SHARDED else None
    with contextlib.suppress(OSError):
        if note is not None:
            note.path.unlink()
        _rmdir(entry.path)
    return note.bytes if note is not None else 0


def _rmdir(folder: Path) -> bool:
    """Remove a marked folder if it is otherwise empty; return whether it is gone."""
    if any(file.name != MARKER for file in _listing(folder)):
        return False
    try:
        (folder / MARKER).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:  # another process has just written something into it
        with contextlib.suppress(OSError):
            _mark(folder, folder.name)
        return False
    return True


def _mark(folder: Path, name: str) -> None:
    """Write tlkit's marker into a folder, unless the folder has one.

    Raises:
        OSError: The marker cannot be written.
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
    """Return whether tlkit created a folder: it holds a marker with its name, or a marker while it is unfinished."""
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
    """Return whether a folder in a section is an entry: created by tlkit, and complete."""
    return not _is_unfinished(folder) and _is_marked(folder)


def _is_ours(file: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        return file.is_file(follow_symlinks=False) and (file.name == NOTE or bool(_WRITTEN.fullmatch(file.name)))
    return False


def _folders(section: Path) -> list[Path]:
    """Return the folders directly below a section, sorted by name; links are not followed."""
    if section.is_symlink():
        return []
    return sorted(
        folder for file in _listing(section) if not (folder := Path(file.path)).is_symlink() and folder.is_dir()
    )


def _listing(folder: Path) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as files:
        yield from files


def _unit(path: Path) -> Unit | None:
    """Return the size and last use of a file, or of an entry that is a single unit; None if it is gone."""
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
    """Remove a file, or what tlkit wrote in a folder, and the folder if it is then empty; return whether it is gone."""
    try:
        if not path.is_dir() or path.is_symlink():
            path.unlink()
            return True
        if all(file.name in (GRAPH, NOTE, MARKER) for file in _listing(path)):
            # rename first, so that other processes find either all of it or nothing
            path = path.rename(unfinished(path))
        for name in (GRAPH, NOTE):
            (path / name).unlink(missing_ok=True)
        if not _rmdir(path):  # it holds files of the user, so the folder is theirs now
            (path / MARKER).unlink(missing_ok=True)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # in use, as on Windows
    return True
