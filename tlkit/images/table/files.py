"""Find the files that a table names, with one look at each folder."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from tlkit.images.table.text import looks_like_image

NO_FILE = "no such file"
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:[\\/]", re.IGNORECASE)
FEW = 4  # files of a folder that are looked up one by one; for more, the folder is listed


class Listing:
    """The files of a folder, by name.

    Args:
        path: The folder.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._names: frozenset[str] | None = None
        self._similar: dict[str, list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        self._problem = NO_FILE

    def find(self, name: str, *, listed: bool) -> tuple[str | None, str]:
        """Return the name of a file as it is on disk; or None, and why there is none, or no single one.

        Args:
            name: Its name; case and accents may be written differently, and the suffix may be missing.
            listed: Whether to list the folder rather than ask for this file.
        """
        if not listed and self._names is None and _is_file(os.path.join(self._path, name)):  # noqa: PTH118
            return name, ""
        if self._names is None:
            self._names = self._read()
        if name in self._names:
            return name, ""
        self._index()
        hits = self._similar.get(_similar(name), [])
        if not hits and not looks_like_image(name):
            hits = self._stems.get(_similar(name), [])
        if len(hits) > 1:
            return None, f"more than one such file: {', '.join(hits)}"
        return (hits[0], "") if hits else (None, self._problem)

    def _read(self) -> frozenset[str]:
        try:
            with os.scandir(self._path) as entries:
                return frozenset(entry.name for entry in entries if not _is_folder(entry))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return frozenset()
        except OSError as error:
            self._problem = f"cannot read its folder: {error.strerror or error}"
            return frozenset()

    def _index(self) -> None:
        if self._similar or not self._names:
            return
        for name in sorted(self._names):
            self._similar.setdefault(_similar(name), []).append(name)
            if looks_like_image(name):
                self._stems.setdefault(_similar(name.rpartition(".")[0]), []).append(name)


class Finder:
    """Finds files below a folder.

    Args:
        root: The folder that relative paths start from.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.as_posix()
        self._folders: dict[str, Listing] = {}

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self.find([name])[0][0] is not None

    def find(self, names: Sequence[str]) -> list[tuple[str | None, str]]:
        """Find files.

        Args:
            names: Paths as written in the table.

        Returns:
            For each: its path relative to the root with ``/`` between parts, absolute if it is elsewhere; None if it
            is not there. And why it is not there.
        """
        split = [self._split(name) for name in names]
        counts = Counter(folder for folder, _ in split)
        found: list[tuple[str | None, str]] = []
        for folder, name in split:
            listing = self._folders.get(folder)
            if listing is None:
                listing = self._folders[folder] = Listing(os.path.join(self._root, folder))  # noqa: PTH118
            hit, problem = listing.find(name, listed=counts[folder] > FEW) if name else (None, "not a file")
            found.append((None, problem) if hit is None else (f"{folder}{hit}", ""))
        return found

    def _split(self, name: str) -> tuple[str, str]:
        """Return the folder, with a final ``/`` unless it is the root, and the name of a file."""
        if "\\" in name and not _is_file(os.path.join(self._root, name)):  # noqa: PTH118
            name = name.replace("\\", "/")
        if "//" in name or "./" in name:
            name = str(PurePosixPath(name))
        if name.startswith(f"{self._root.rstrip('/')}/"):
            name = name[len(self._root.rstrip("/")) + 1 :]
        folder, slash, last = name.rpartition("/")
        return folder + slash, last


def hint_for(root: Path, names: Sequence[str]) -> str:
    """Return what to do about files that do not exist.

    Args:
        root: The folder that relative paths start from.
        names: Some of the files, as the table has them.
    """
    first = names[0]
    if first.startswith("{"):
        return "the column of files holds objects: it must hold paths"
    if _URL.match(first):
        return "files are not downloaded: download them, and write their paths into the table"
    if first.startswith("/") or _DRIVE.match(first):
        parts = PurePosixPath(first.replace("\\", "/")).parts
        for start in range(1, len(parts)):
            if Finder(root).exists("/".join(parts[start:])):
                away = first[: len(first) - len("/".join(parts[start:]))]
                return f"these paths are of another place: take {away} away from them, as their rest is in {root}"
        return "these paths are of another place: write them relative to the table, or to --root DIR"
    if there := _nearby(root, names):
        return f"did you mean --root {there}?"
    (hit, _), *_ = Finder(root).find([first.rpartition(".")[0] if looks_like_image(first) else first])
    if hit is not None:
        return f"there is {hit}: write the ending of the files as it is"
    return "--root DIR says where the paths start"


def _nearby(root: Path, names: Iterable[str]) -> Path | None:
    """Return the folder from which files can be found that are not below ``root``: here, above or just below it."""
    some = list(names)
    for folder in [Path.cwd(), *root.parents[:2], *_inside(root)]:
        finder = Finder(folder)
        if folder != root and any(finder.exists(name) for name in some):
            return folder
    return None


def _inside(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return [root / name for name in sorted(entry.name for entry in entries if _is_folder(entry))][:50]
    except OSError:
        return []


def _similar(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a loop
        return False


def _is_file(path: str) -> bool:
    try:
        return os.path.lexists(path) and not os.path.isdir(path)  # noqa: PTH112
    except ValueError:  # a character that no path can have
        return False
