"""What a caller may give as images: paths, folders, patterns, images in memory, and lists of these."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tlkit.errors import TlkitError
from tlkit.images.given import GivenImage, given_image, is_image
from tlkit.images.natural import natural
from tlkit.images.table.columns import Columns
from tlkit.images.table.read import table_files
from tlkit.images.table.text import KINDS, names_table
from tlkit.images.tree import walk_images

PathLike = str | os.PathLike[str]

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from tlkit.api.table_options import FileOptions

    ImageLike: TypeAlias = PathLike | bytes | bytearray | memoryview | Image.Image | NDArray[Any] | GivenImage
    Images: TypeAlias = ImageLike | Iterable[ImageLike]

TYPES = (
    "give a path, the bytes of an image file, a Pillow image, an array [height, width, 3] of uint8, or a list of these"
)


def find_images(images: Images, table: FileOptions | None = None) -> list[Path | GivenImage]:
    """Find images: files as they are, those of folders, tables and patterns; each file once, in the order given.

    A file that does not exist stays in the list, so that its row reports the error.

    Args:
        images: One of these, or an iterable of them: the path of a file, a folder or a table that names files, a glob
            pattern, the bytes of an image file, a Pillow image, a uint8 array [height, width, 3], [height, width] or
            [height, width, 4]; or a uint8 array [n, height, width, 3].
        table: How tables are to be understood.

    Raises:
        TlkitError: Something else is given, a folder cannot be read, a table cannot be understood, an option of tables
            is given without one, or nothing is found.
    """
    items = listed(images)
    columns = Columns() if table is None else table.columns
    if (option := columns.first_given()) and not any(isinstance(each, Path) and names_table(each) for each in items):
        raise TlkitError(f"{option} requires a table", f"a table ends in {KINDS}")
    found: dict[Path | GivenImage, None] = {}
    unmatched: list[Path] = []
    for item in items:
        if isinstance(item, GivenImage):
            found[item] = None
        elif os.path.isdir(item):  # noqa: PTH112  (unlike Path.is_dir, never raises)
            found.update(dict.fromkeys(walk_images(_readable(item))))
        elif names_table(item) and not _is_pattern(item):
            found.update(dict.fromkeys(_named(item, columns, alone=len(items) == 1)))
        elif not _is_pattern(item):
            found[item] = None
        elif hits := _matches(item):
            for hit in hits:
                found.update(dict.fromkeys(walk_images(hit) if os.path.isdir(hit) else [hit]))  # noqa: PTH112
        else:
            unmatched.append(item)
            found[item] = None
    if unmatched and len(unmatched) == len(found):
        raise TlkitError(f"no files match {', '.join(map(str, unmatched))}")
    if not found:
        raise TlkitError(f"no images in {described(images)}")
    return list(found)


def _named(table: Path, columns: Columns, *, alone: bool) -> list[Path]:
    """Return the files that a table names. One of several paths that is no table stays as it is, as ``*`` finds notes.

    Raises:
        TlkitError: The table is the only path, or options are given for it, and it cannot be understood.
    """
    try:
        return table_files(table, columns)
    except TlkitError:
        if alone or columns.first_given() is not None:
            raise
        return [table]


def named_folders(images: Images) -> list[Path]:
    """Return the folders among files, folders and patterns, in which images are searched."""
    found: list[Path] = []
    for path in listed(images):
        if isinstance(path, Path):
            found.extend(hit for hit in (_matches(path) if _is_pattern(path) else [path]) if os.path.isdir(hit))  # noqa: PTH112
    return found


def described(images: Images) -> str:
    """Return what was given, in words for a message."""
    return ", ".join(map(str, listed(images))) or "nothing"


def listed(images: Images) -> list[Path | GivenImage]:
    """Return what was given as a list of paths and of images in memory.

    Raises:
        TlkitError: Something else is given.
    """
    if is_single(images):
        return [_item(images, "image")]
    # an open file would be iterated over by lines
    if isinstance(images, Mapping) or hasattr(images, "read") or not isinstance(images, Iterable):
        raise _wrong("images", images)
    return [_item(image, f"images[{index}]") for index, image in enumerate(images)]


def is_single(images: Any) -> bool:
    """Return whether this is one image, or one path, and not a list of them."""
    if isinstance(images, np.ndarray):
        # an array of paths or of objects is a list, and one with an axis more is many images
        return images.dtype.kind not in "OU" and images.ndim != 4
    return isinstance(images, (str, os.PathLike, GivenImage)) or is_image(images)


def _item(image: Any, name: str) -> Path | GivenImage:
    """Return one image as a path or an image in memory.

    Raises:
        TlkitError: It is something else, or an empty path.
    """
    if isinstance(image, GivenImage):
        return image
    if is_image(image):
        return given_image(image, name)
    if not isinstance(image, (str, os.PathLike)):
        raise _wrong(name, image)
    text = os.fsdecode(image)
    if not text:
        raise TlkitError(f"{name} is an empty path", TYPES)
    return Path(text)


def _wrong(name: str, value: Any) -> TlkitError:
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return TlkitError(f"{name} cannot be of type {module}{kind.__qualname__}", TYPES)


def _readable(folder: Path) -> Path:
    try:
        os.listdir(folder)  # noqa: PTH208  (only to find out whether it can be read)
    except OSError as error:
        raise TlkitError(f"cannot read {folder}: {error.strerror or error}") from None
    return folder


def _is_pattern(path: Path) -> bool:
    return glob.has_magic(str(path)) and not os.path.lexists(path)


def _matches(pattern: Path) -> list[Path]:
    """Return what matches a pattern, in natural order. As far as folders of exactly its name exist, they are meant."""
    literal = next((parent for parent in pattern.parents if os.path.lexists(parent)), Path())
    rest = pattern.relative_to(literal)
    hits = glob.glob(str(Path(glob.escape(str(literal))) / rest), recursive=True)  # noqa: PTH207
    return [Path(hit) for hit in natural(hits)]
