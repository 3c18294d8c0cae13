"""Read which images a folder and its sub-folders hold, without opening those that are named like images."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tlkit.images.formats import FORMATS, HEADER_BYTES, IMAGE_SUFFIXES, sniff_format
from tlkit.images.names import NOT_IMAGES, is_hidden, kind_of
from tlkit.images.natural import natural
from tlkit.remote import is_remote, listing, read_bytes, remote_path

MAX_DEPTH = 100  # folders within folders; deeper ones are not read
MAX_MISSES = 20  # files of an unknown kind that are looked into; if none is an image, the others are not
DRAWN = "contact-sheet.png"  # what `tlkit explain` writes into its folder
_EXPLAINED = re.compile(r"explained(?:-[0-9]+)?")


@dataclass(eq=False)
class Tree:
    """A folder and what it holds; all names in natural order.

    Attributes:
        images: Names of the images in the folder itself.
        folders: The sub-folders by name. One that several links lead to is the same object.
        others: Number of other files by kind; see `tlkit.images.names.kind_of`.
        unreadable: Reason by name of each entry that cannot be read.
        not_followed: Names of links to a folder that holds this one.
        error: Why the folder cannot be read; None: it can.
    """

    images: list[str] = field(default_factory=list)
    folders: dict[str, Tree] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)
    not_followed: list[str] = field(default_factory=list)
    error: str | None = None

    @cached_property
    def count(self) -> int:
        """Number of images in the folder and below."""
        return len(self.images) + sum(folder.count for folder in self.folders.values())

    @property
    def with_images(self) -> dict[str, Tree]:
        """The sub-folders that hold images, in themselves or below."""
        return {name: folder for name, folder in self.folders.items() if folder.count}

    def each(self, prefix: str = "") -> Iterator[tuple[str, Tree]]:
        """Yield the folder and those below it, each with the path before its names; each real folder once."""
        return self._each(prefix, set())

    def _each(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Tree]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, folder in self.folders.items():
            yield from folder._each(f"{prefix}{name}/", seen)

    def files(self, prefix: str = "") -> list[str]:
        """Return the path of each image: those of a folder before those of its sub-folders."""
        return [before + name for before, folder in self.each(prefix) for name in folder.images]


def read_tree(top: str | os.PathLike[str]) -> Tree:
    """Read a folder and everything below it.

    Hidden entries, folders of operating systems and tlkit's own are left out. Links to folders are followed, except to
    a folder that holds the link. A file counts as an image by its suffix; one with no suffix, or an unknown one, by
    its first bytes. A broken link with the name of an image counts as an image, so that it is reported as unreadable.
    """
    place = remote_path(top)
    if place is not None:
        return _Reader(str(place), listing(place).scandir).read(str(place), str(place), 0)
    path, real = os.fspath(top), os.path.realpath(top)
    return _Reader(real).read(path, real, 0)


class _Reader:
    """Reads folders, each real folder once.

    Args:
        root: Real path of the folder that is read.
        scandir: Yields what lies in a folder; None: `os.scandir`.
    """

    def __init__(self, root: str, scandir: Callable[[str], Any] | None = None) -> None:
        self._root = _slashed(root)
        self._scandir = scandir or os.scandir
        self._read: dict[str, Tree] = {}
        self._within: set[str] = set()  # real paths of the folders that hold the one being read
        self._misses: Counter[str] = Counter()

    def read(self, path: str, real: str, depth: int) -> Tree:
        """Read a folder.

        Args:
            path: As it is reached.
            real: Its real path.
            depth: Number of folders that it lies in.
        """
        if real in self._read:
            return self._read[real]
        if depth > MAX_DEPTH:
            return Tree(error="too many folders within folders")
        tree = self._read[real] = Tree()
        try:
            folders = self._list(path, tree)
        except OSError as error:
            tree.error = _reason(error)
            return tree
        self._within.add(real)
        for name in natural(folders):
            its_path, its_real = os.path.join(path, name), os.path.join(real, name)  # noqa: PTH118  (faster)
            if folders[name]:
                its_real = os.path.realpath(its_path)
                if its_real in self._within or self._root.startswith(_slashed(its_real)):
                    tree.not_followed.append(name)
                    continue
            found = self.read(its_path, its_real, depth + 1)
            if DRAWN not in found.images or not _EXPLAINED.fullmatch(name):
                tree.folders[name] = found
        tree.folders = {name: tree.folders[name] for name in natural(tree.folders)}
        self._within.discard(real)
        return tree

    def _list(self, path: str, tree: Tree) -> dict[str, bool]:
        """List a folder: fill in its files, and return whether each sub-folder may be a link."""
        folders: dict[str, bool] = {}
        images: list[str] = []
        others: list[str] = []
        refused: list[tuple[str, OSError]] = []
        with self._scandir(path) as entries:
            for entry in entries:
                name = entry.name
                dot = name.rfind(".")
                is_image = dot > 0 and name[dot:].lower() in IMAGE_SUFFIXES
                try:
                    if entry.is_dir():
                        if not is_hidden(name):
                            folders[name] = os.name == "nt" or entry.is_symlink()  # Windows has junctions besides
                    elif is_image:
                        images.append(name)
                    elif not is_hidden(name):
                        others.append(name)
                except OSError as error:
                    if is_image:  # a link that cannot be followed: reading it says why
                        images.append(name)
                    elif not is_hidden(name):
                        refused.append((name, error))
        for name, problem in sorted(refused, key=lambda each: each[0]):
            if isinstance(problem, PermissionError):  # probably a folder
                tree.folders[name] = Tree(error=_reason(problem))
            else:
                tree.unreadable[name] = _reason(problem)
        for name in sorted(others):
            if self._is_image(os.path.join(path, name), name, tree):  # noqa: PTH118
                images.append(name)
        tree.images = natural(name for name in images if name[0] != "." or name.startswith(".."))
        return folders

    def _is_image(self, path: str, name: str, tree: Tree) -> bool:
        """Look into a file that is not named like an image; count it if it is none."""
        kind = kind_of(name)
        if kind not in NOT_IMAGES and self._misses[kind] < MAX_MISSES:
            try:
                if sniffed(path):
                    self._misses[kind] = -(10**9)  # such files are images
                    return True
            except OSError as error:
                tree.unreadable[name] = _reason(error)
                return False
            self._misses[kind] += bool(kind)  # without a suffix, each file is looked into
        tree.others[kind] += 1
        return False


def sniffed(path: str | os.PathLike[str]) -> bool:
    """Return whether a regular file begins like an image that can be read.

    Raises:
        OSError: It cannot be read.
    """
    if is_remote(path):
        format = sniff_format(read_bytes(os.fspath(path), HEADER_BYTES))
        return format in FORMATS or format == "HEIC"
    if not os.path.isfile(path):  # noqa: PTH113  (a pipe would wait for someone to write to it)
        if os.path.islink(path):  # noqa: PTH114
            os.stat(path)  # noqa: PTH116  (says why the link cannot be followed)
        return False
    with open(path, "rb") as file:  # noqa: PTH123
        format = sniff_format(file.read(HEADER_BYTES))
    return format in FORMATS or format == "HEIC"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _slashed(real: str) -> str:
    return real if real.endswith(os.sep) else real + os.sep
