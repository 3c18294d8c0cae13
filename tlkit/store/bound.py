"""The cache of results that can be computed again, and its size limit.

The cache has four sections: entries in ``features``, ``images`` and ``maps`` consist of shards, entries in ``networks``
are single units. The user chooses the cache folder and may share it with other data, so tlkit only counts and removes
what it wrote itself, see `tlkit.store.marker`.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from tlkit.errors import TlkitError
from tlkit.images.names import is_hidden
from tlkit.store.marker import (
    GRAPH,
    MARKER,
    NOTE,
    is_entry,
    is_marked,
    is_ours,
    listing,
    may_remove,
    remove,
    remove_empty,
)

CACHE = "TLKIT_CACHE"  # the variable that names the cache folder
DEFAULT_SIZE = "4GB"
SHARDED, WHOLE = ("features", "images", "pictures", "maps"), ("networks",)  # "pictures": the former name of "images"
SECTIONS = (*SHARDED, *WHOLE)
ABANDONED = 3600.0  # seconds after which an unfinished file counts as abandoned
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


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
    chosen = os.environ.get(CACHE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("tlkit"))


def keep_font_list() -> None:
    """Have matplotlib, which Keras imports too, keep its list of fonts in the cache folder, unless told otherwise.

    Only in the command line: a program of the user's may have settings for matplotlib where it usually looks.
    """
    if "tlkit.cli.app" in sys.modules:
        os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))


def refuse_cache_among(images: Iterable[Path]) -> None:
    """Refuse a cache that the user has put into a folder of images, where it would look like a class.

    Hidden folders are passed over, so a cache may be in one.

    Args:
        images: Folders of images.

    Raises:
        TlkitError: It lies there.
    """
    if not os.environ.get(CACHE):
        return
    cache = Path(os.path.realpath(cache_folder()))
    for folder in map(os.path.realpath, images):
        if cache.is_relative_to(folder) and not any(map(is_hidden, cache.relative_to(folder).parts)):
            raise TlkitError(f"the cache is inside the image folder: {cache}", f"set {CACHE} to another folder")


def cache_limit() -> int:
    """Return the size limit of the cache in bytes: ``TLKIT_CACHE_SIZE``, such as ``500MB`` or ``4GB`` (the default).

    Raises:
        TlkitError: The variable is not a size, or has no unit.
    """
    text = os.environ.get("TLKIT_CACHE_SIZE", DEFAULT_SIZE)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])i?B?|(B))?\s*", text, re.IGNORECASE)
    if not match:
        raise TlkitError(f"TLKIT_CACHE_SIZE is not a size: '{text}'", "write it as 500MB or 4GB")
    if not (match[2] or match[3] or float(match[1]) == 0):
        raise TlkitError(f"TLKIT_CACHE_SIZE requires a unit: '{text}'", f"write {match[1]}MB or {match[1]}GB")
    return int(float(match[1]) * _UNITS[(match[2] or "").upper()])


def remove_entry(entry: Path) -> None:
    """Remove an entry of ``networks``, if tlkit created it."""
    if may_remove(entry):
        remove(entry)


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
        remove(unit.path)
    kept = entries(root)
    total = sum(entry.bytes for entry in kept)
    removed = []
    for unit in sorted((unit for entry in kept for unit in entry.units), key=lambda unit: (unit.used, unit.path)):
        if total <= limit:
            break
        if remove(unit.path):
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
        freed += unit.bytes if remove(unit.path) else 0
    for entry in entries(root):
        freed += _sweep(entry)
    for section in SECTIONS:
        if is_marked(root / section):
            remove_empty(root / section)
    return freed


def _sharded(section: str, folder: Path) -> Entry | None:
    """Return an entry that consists of shards; None if tlkit did not create it."""
    if not is_entry(folder):
        return None
    units = [_unit(Path(file.path)) for file in listing(folder) if is_ours(file)]
    present = [unit for unit in units if unit is not None]
    shards = tuple(unit for unit in present if unit.path.suffix == ".npy")
    used = max((unit.used for unit in shards), default=0)
    return Entry(section, folder, sum(unit.bytes for unit in present), used, shards)


def _whole(section: str, folder: Path) -> Entry | None:
    """Return an entry that is a single unit; None if tlkit did not create it."""
    unit = _unit(folder) if is_entry(folder) else None
    return None if unit is None else Entry(section, folder, unit.bytes, unit.used, (unit,))


def _half_written(root: Path) -> list[Unit]:
    """Return unfinished files and folders, recognised by their temporary names."""
    paths = [
        Path(file.path)
        for section in SHARDED
        for folder in _folders(root / section)
        if is_entry(folder)
        for file in listing(folder)
        if is_ours(file) and file.name.endswith(".part")
    ]
    for section in WHOLE:
        paths += [folder for folder in _folders(root / section) if folder.suffix == ".part" and is_marked(folder)]
    return [unit for unit in map(_unit, paths) if unit is not None]


def _sweep(entry: Entry) -> int:
    """Remove an entry's folder if only its note is left; return the bytes freed."""
    if not is_entry(entry.path) or any(file.name not in (NOTE, MARKER) for file in listing(entry.path)):
        return 0
    note = _unit(entry.path / NOTE) if entry.section in SHARDED else None
    with contextlib.suppress(OSError):
        if note is not None:
            note.path.unlink()
        remove_empty(entry.path)
    return note.bytes if note is not None else 0


def _folders(section: Path) -> list[Path]:
    """Return the folders directly below a section, sorted by name; links are not followed."""
    if os.path.islink(section):  # noqa: PTH114  (unlike Path.is_symlink, never raises)
        return []
    return sorted(
        Path(file.path)
        for file in listing(section)
        if not os.path.islink(file.path) and os.path.isdir(file.path)  # noqa: PTH112, PTH114
    )


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
