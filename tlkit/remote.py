"""Files in object stores, such as ``s3://bucket/photos``: listed once, read by many threads, retried.

Everything that fsspec knows is read the same way: s3://, gs://, abfs://, memory:// and others.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tlkit.errors import TlkitError
from tlkit.libraries import install_extra, is_installed

THREADS = 48  # that read at once: over a network, a file is waited for, not read
TRIES = 7
FIRST_WAIT = 0.1  # seconds before the second try; twice as long before each further one
FRESH = 10.0  # seconds for which a listing is used again
MAX_LISTED = 8  # listings that are kept
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?!/)(.*)", re.DOTALL)  # one slash: pathlib has removed the other
_LOCAL = re.compile(r"(?:file|local):/{1,3}", re.IGNORECASE)
_KINDS = {"s3fs": ("s3", "s3a"), "gcsfs": ("gs", "gcs"), "adlfs": ("abfs", "abfss", "az", "adl")}
_MODULES = {kind: module for module, kinds in _KINDS.items() for kind in kinds}
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError, TypeError)

Found = TypeVar("Found")

if sys.platform == "win32":
    from pathlib import WindowsPath as _SystemPath
else:
    from pathlib import PosixPath as _SystemPath


class RemotePath(_SystemPath):
    """A path in an object store, whose text is a URL."""

    def __str__(self) -> str:
        """Return the URL."""
        return f"{self.parts[0]}//{'/'.join(self.parts[1:])}"

    def __fspath__(self) -> str:
        """Return the URL, which the system does not know: code that opens files asks `is_remote` first."""
        return str(self)

    def absolute(self) -> RemotePath:
        """Return the same path."""
        return self

    def expanduser(self) -> RemotePath:
        """Return the same path."""
        return self

    def exists(self, **_: Any) -> bool:
        """Return whether it is a file or a folder."""
        return stamp_of(self) is not None or bool(listing(self).sizes)

    def is_dir(self, **_: Any) -> bool:
        """Return whether anything lies below it."""
        return listing(self).is_folder

    def is_file(self, **_: Any) -> bool:
        """Return whether it is a file."""
        if stamp_of(self) is not None:
            return True
        found = listing(self)
        return bool(found.sizes) and not found.is_folder


def remote_path(path: str | os.PathLike[str]) -> RemotePath | None:
    """Return the path in an object store that a text or path means; None: it is a local one.

    Raises:
        TlkitError: It holds credentials.
    """
    if isinstance(path, RemotePath):
        return path
    text = os.fspath(path)
    match = _URL.match(text)
    if match is None or _LOCAL.match(text):
        return None
    if "@" in match[2].split("/")[0]:
        raise TlkitError(f"a {match[1]}:// address must not hold credentials", "set them in the environment")
    return RemotePath(f"{match[1].lower()}:/{match[2]}")


def local_text(path: str | os.PathLike[str]) -> str:
    """Return the path that a ``file://`` address names; anything else as it is."""
    text = os.fspath(path)
    match = _LOCAL.match(text)
    return f"/{text[match.end() :]}" if match else text


def is_remote(source: object) -> bool:
    """Return whether a path or its text is one in an object store; fast."""
    if isinstance(source, str):
        return "://" in source and _URL.match(source) is not None
    return isinstance(source, RemotePath)


def read_bytes(source: RemotePath | str, first: int | None = None) -> bytes:
    """Return the content of a file, or its first bytes; failed requests are repeated.

    Raises:
        OSError: It is not there, may not be read, or no request succeeded.
    """
    system, place = _opened(source)
    if first is not None:
        return _tried(lambda: bytes(system.cat_file(place, start=0, end=first)))
    return _tried(lambda: bytes(system.cat_file(place)))


@dataclass
class Entry:
    """What `os.scandir` would yield of a file or folder."""

    name: str
    folder: bool

    def is_dir(self) -> bool:
        """Return whether it is a folder."""
        return self.folder

    def is_symlink(self) -> bool:
        """Return that it is no link."""
        return False


@dataclass
class Listing:
    """All files below a folder, listed once.

    Attributes:
        root: URL of the folder.
        sizes: Size in bytes of each file, by its path below the folder; of a single file, by "".
        stamps: What tells whether it has changed, likewise.
        time: When it was listed.
    """

    root: str
    sizes: dict[str, int]
    stamps: dict[str, str]
    time: float
    _folders: dict[str, dict[str, bool]] | None = field(default=None)

    @property
    def is_folder(self) -> bool:
        """Whether it is one: something lies below."""
        return any(self.sizes)

    @contextlib.contextmanager
    def scandir(self, path: str) -> Iterator[list[Entry]]:
        """Yield what lies in a folder, as `os.scandir` does."""
        if self._folders is None:
            folders: dict[str, dict[str, bool]] = {"": {}}
            for name in self.sizes:
                parent = ""
                *above, last = name.split("/")
                for part in above:
                    folders.setdefault(parent, {})[part] = True
                    parent = f"{parent}/{part}" if parent else part
                folders.setdefault(parent, {}).setdefault(last, False)
            self._folders = folders
        below = path[len(self.root) :].strip("/")
        yield [Entry(name, is_folder) for name, is_folder in self._folders.get(below, {}).items() if name]


_LISTED: dict[str, Listing] = {}


def listing(folder: RemotePath) -> Listing:
    """List all files below a folder; the last listings are used again for some seconds.

    Raises:
        TlkitError: It cannot be listed, or the library for it is not installed.
    """
    root = str(folder)
    known = _LISTED.get(root)
    if known is not None and time.monotonic() - known.time < FRESH:
        return known
    try:
        system, place = _opened(folder)
        system.invalidate_cache()
        found = _tried(lambda: system.find(place, detail=True))
    except FileNotFoundError:
        found = {}
    except OSError as error:
        raise TlkitError(f"cannot read {root}: {error.strerror or error}") from error
    start, sizes, stamps = place.strip("/"), {}, {}
    for name, info in found.items():
        below = name.strip("/")[len(start) :].strip("/")
        if info.get("type") == "directory" or name.endswith("/"):
            continue
        sizes[below] = int(info.get("size") or 0)
        stamps[below] = str(info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or "")
    listed = Listing(root, sizes, stamps, time.monotonic())
    if listed.is_folder:
        for old in list(_LISTED)[: max(0, len(_LISTED) - MAX_LISTED + 1)]:
            del _LISTED[old]
        _LISTED[root] = listed
    return listed


def stamp_of(source: RemotePath) -> list[Any] | None:
    """Return what tells whether a file is still the same, if it was listed: its size and the store's own mark."""
    text = str(source)
    for root, found in _LISTED.items():
        below = text[len(root) :].strip("/")
        if text.startswith(root) and below in found.sizes:
            return [found.sizes[below], found.stamps[below]]
    return None


def refuse_remote(path: str | os.PathLike[str], option: str) -> None:
    """Refuse an output in an object store.

    Raises:
        TlkitError: It is one.
    """
    if remote_path(path) is not None:
        raise TlkitError(f"{option} must be a local path, not {remote_path(path)}", "write it here, then upload it")


def _opened(source: RemotePath | str) -> tuple[Any, str]:
    """Return the file system of a path, and the path as it knows it."""
    url = str(source)
    kind = url.partition("://")[0]
    module = _MODULES.get(kind, "fsspec")
    if not is_installed("fsspec") or not is_installed(module):
        raise TlkitError(f"reading {kind}:// requires {module}", install_extra("cloud"))
    try:
        system = importlib.import_module("fsspec").filesystem(kind)
        return system, str(system._strip_protocol(url))
    except ImportError as error:
        raise TlkitError(
            f"reading {kind}:// requires a library that is not installed", install_extra("cloud")
        ) from error
    except ValueError as error:
        raise TlkitError(f"no such kind of address: {kind}://", "for example s3://bucket/photos") from error
    except Exception as error:
        raise TlkitError(f"cannot reach {kind}://: {type(error).__name__}", "see docs/cloud.md") from error


def _tried(call: Callable[[], Found]) -> Found:
    """Call until it succeeds; what asking again cannot change is raised at once.

    Raises:
        OSError: It did not succeed.
    """
    for attempt in range(TRIES):
        try:
            return call()
        except _FINAL as error:
            raise _without_secrets(error) from None
        except Exception as error:  # noqa: BLE001  (every store's library has errors of its own)
            if attempt == TRIES - 1:
                raise _without_secrets(error) from None
            time.sleep(FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.0))
    raise AssertionError


def _without_secrets(error: Exception) -> OSError:
    """Return an error of the same meaning without the library's text, which may hold addresses with credentials."""
    for kind, reason in (
        (FileNotFoundError, "no such file"),
        (PermissionError, "permission denied"),
        (IsADirectoryError, "a folder"),
    ):
        if isinstance(error, kind):
            return kind(None, reason)
    return OSError(None, f"the store does not answer ({type(error).__name__})")
