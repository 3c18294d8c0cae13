"""Bundles in object stores, fetched into the cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tlkit.bundle.manifest import FILES
from tlkit.bundle.save import MANIFEST
from tlkit.errors import TlkitError
from tlkit.remote import RemotePath, listing, read_bytes
from tlkit.store.bound import CACHE, cache_folder

SECTION = "bundles"
KEPT = 8  # bundles that are kept; the least recently used goes first
MAX_BYTES = 4 << 30  # of all files of a bundle
_KEY = re.compile(r"[0-9a-f]{24}")


def fetched_bundle(place: RemotePath) -> Path:
    """Return a local copy of a bundle, fetched unless the cache has it; its hashes are checked when it is opened.

    Raises:
        TlkitError: There is no bundle, it cannot be read, or the cache cannot be written.
    """
    found = listing(place)
    names = [name for name in (*FILES, MANIFEST) if name in found.sizes]
    if MANIFEST not in names:
        raise TlkitError(f"no such bundle: {place}", f"a bundle is a folder with {MANIFEST}")
    if sum(found.sizes[name] for name in names) > MAX_BYTES:
        raise TlkitError(f"{place} is too large for a bundle")
    marks = [str(place), [[name, found.sizes[name], found.stamps[name]] for name in sorted(names)]]
    key = hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:24]
    section = cache_folder() / SECTION
    target = section / key / str(place.name)
    try:
        if not (target / MANIFEST).is_file():
            _fetch(place, names, target)
        os.utime(target.parent)
        _prune(section, key)
    except OSError as error:
        raise TlkitError(f"cannot fetch {place}: {error.strerror or error}", f"{CACHE} must be writable") from error
    return target


def _fetch(place: RemotePath, names: list[str], target: Path) -> None:
    """Fetch the files into a folder that gets its name when it is complete."""
    target.parent.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(suffix=".part", dir=target.parent.parent))
    try:
        inner = part / target.name
        inner.mkdir()

        def fetch(name: str) -> None:
            (inner / name).write_bytes(read_bytes(place / name))

        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(fetch, names))
        with contextlib.suppress(OSError):  # another process was quicker
            part.rename(target.parent)
        if not (target / MANIFEST).is_file():
            raise OSError(None, "it cannot be moved to its place")
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _prune(section: Path, key: str) -> None:
    """Remove the least recently used of many."""
    others = [each for each in section.iterdir() if _KEY.fullmatch(each.name) and each.name != key]
    for each in sorted(others, key=lambda path: path.stat().st_mtime)[: max(0, len(others) + 1 - KEPT)]:
        shutil.rmtree(each, ignore_errors=True)
