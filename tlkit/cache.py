"""Where tlkit keeps what it can compute again, and how large that may become."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

import platformdirs

from tlkit.errors import TlkitError

DEFAULT_SIZE = "4GB"
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


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


def entry_size(entry: Path) -> int:
    """Bytes in all files of one entry (a folder directly below a section of the cache)."""
    total = 0
    for file in entry.rglob("*"):
        with contextlib.suppress(OSError):  # another process may be removing it
            total += file.stat().st_size
    return total


def prune(section: Path, limit: int, keep: Path | None = None) -> list[Path]:
    """Remove the least recently used entries of ``section`` until it holds at most ``limit`` bytes.

    Args:
        section: Folder whose direct sub-folders are the entries; an entry's modification time is its last use.
        limit: Bytes that may stay.
        keep: An entry in use now, never removed.

    Returns:
        The entries removed.
    """
    if not section.is_dir():
        return []
    entries = [entry for entry in section.iterdir() if entry.is_dir()]
    sizes = {entry: entry_size(entry) for entry in entries}
    total = sum(sizes.values())
    removed = []
    for entry in sorted(entries, key=_last_use):
        if total <= limit:
            break
        if entry != keep:
            shutil.rmtree(entry, ignore_errors=True)
            total -= sizes[entry]
            removed.append(entry)
    return removed


def _last_use(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:
        return 0.0
