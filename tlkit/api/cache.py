"""``tlkit cache``: show what is kept on disk, and clear it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tlkit.errors import TlkitError
from tlkit.store import bound as cache
from tlkit.store.shards import rows_in

HINT = "set TLKIT_CACHE to a folder that can be written"


@dataclass(frozen=True)
class CacheEntry:
    """One folder of a section.

    Attributes:
        section: "features", "images" or "networks".
        name: Name of the folder.
        bytes: Size.
        items: Number of images; None if the entry does not hold images.
        used: Last use, in seconds since the epoch; None if it is empty.
    """

    section: str
    name: str
    bytes: int
    items: int | None
    used: float | None


@dataclass(frozen=True)
class CacheContents:
    """What the cache holds.

    Attributes:
        folder: The cache folder.
        limit: Maximum size in bytes.
        bytes: Size in bytes.
        entries: Sorted by section, then last used first.
    """

    folder: Path
    limit: int
    bytes: int
    entries: tuple[CacheEntry, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with times as ISO 8601 in UTC."""
        rows = [{**asdict(entry), "used": _iso(entry.used)} for entry in self.entries]
        return {"folder": str(self.folder), "limit": self.limit, "bytes": self.bytes, "entries": rows}


@dataclass(frozen=True)
class Cleared:
    """The result of clearing: the folder, the bytes freed, and the bytes that could not be deleted."""

    folder: Path
    freed: int
    left: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"folder": str(self.folder), "freed": self.freed, "left": self.left}


def contents() -> CacheContents:
    """List what is kept on disk; an empty cache is not an error.

    Raises:
        TlkitError: The cache folder cannot be read, or ``TLKIT_CACHE_SIZE`` is not a size.
    """
    limit = cache.cache_limit()
    folder = _readable_folder()
    rows = [
        CacheEntry(
            entry.section,
            entry.path.name,
            entry.bytes,
            sum(rows_in(unit.path) for unit in entry.units) if entry.section in cache.SHARDED else None,
            entry.used / 1e9 if entry.units else None,
        )
        for entry in cache.entries(folder)
    ]
    rows.sort(key=lambda row: (cache.SECTIONS.index(row.section), -(row.used or 0)))
    return CacheContents(folder, limit, sum(row.bytes for row in rows), tuple(rows))


def clear() -> Cleared:
    """Delete everything that tlkit keeps on disk, and nothing else.

    Raises:
        TlkitError: The cache folder cannot be read.
    """
    folder = _readable_folder()
    freed = cache.clear(folder)
    return Cleared(folder, freed, sum(entry.bytes for entry in cache.entries(folder)))


def _readable_folder() -> Path:
    folder = cache.cache_folder()
    for each in (folder, *(folder / section for section in cache.SECTIONS)):
        try:
            os.scandir(each).close()
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            raise TlkitError(f"the cache folder is a file: {each}", HINT) from None
        except OSError as error:
            raise TlkitError(f"cannot read the cache folder {each}: {error.strerror or error}", HINT) from error
    return folder


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
