"""What a caller may give as images: paths, folders, patterns, images in memory, and lists of these."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tlkit.errors import TlkitError
from tlkit.images.formats import IMAGE_SUFFIXES
from tlkit.images.given import GivenImage, given_image, is_image
from tlkit.images.natural import natural
from tlkit.images.table.columns import Columns
from tlkit.images.table.read import table_files
from tlkit.images.table.text import KINDS, names_table
from tlkit.images.tree import read_tree
from tlkit.images.unused import left_out, unused_lines
from tlkit.progress import Progress, SilentProgress
from tlkit.remote import RemotePath, is_remote, local_text, remote_path
from tlkit.store.bound import refuse_cache_among
from tlkit.words import plural

PathLike = str | os.PathLike[str]

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from tlkit.api.table_options import FileOptions

    ImageLike: TypeAlias = PathLike | bytes | bytearray | memoryview | Image.Image | NDArray[Any] | GivenImage
    Images: TypeAlias = ImageLike | Iterable[ImageLike]

MAX_NOTED = 5  # folders that cannot be read, noted one by one
TYPES = (
    "give a path, the bytes of an image file, a Pillow image, an array [height, width, 3] of uint8, or a list of these"
)


def find_images(
    images: Images, table: FileOptions | None = None, progress: Progress | None = None
) -> list[Path | GivenImage]:
    """Find images: files as they are, those of folders, tables and patterns; each file once, in the order given.

    A file that does not exist stays in the list, so that its row reports the error.

    Args:
        images: One of these, or an iterable of them: the path of a file, a folder or a table that names files, a glob
            pattern, the bytes of an image file, a Pillow image, a uint8 array [height, width, 3], [height, width] or
            [height, width, 4]; or a uint8 array [n, height, width, 3].
        table: How tables are to be understood.
        progress: Progress reporter, which is told what is not used of folders.

    Raises:
        TlkitError: Something else is given, a folder cannot be read, a table cannot be understood, an option of tables
            is given without one, or nothing is found.
    """
    items, show = listed(images), progress or SilentProgress()
    columns = Columns() if table is None else table.columns
    if (option := columns.first_given()) and not any(isinstance(each, Path) and names_table(each) for each in items):
        raise TlkitError(f"{option} requires a table", f"a table ends in {KINDS}")
    found: dict[Path | GivenImage, None] = {}
    unmatched: list[Path] = []
    for item in items:
        if isinstance(item, GivenImage):
            found[item] = None
        elif isinstance(item, RemotePath):
            found.update(dict.fromkeys(_remote(item, show)))
        elif os.path.isdir(item):  # noqa: PTH112  (unlike Path.is_dir, never raises)
            found.update(dict.fromkeys(_below(_readable(item), show)))
        elif names_table(item) and not is_pattern(item):
            found.update(dict.fromkeys(_named(item, columns, alone=len(items) == 1)))
        elif not is_pattern(item):
            found[item] = None
        elif hits := matches(item):
            for hit in hits:
                found.update(dict.fromkeys(_below(hit, show) if os.path.isdir(hit) else [hit]))  # noqa: PTH112
        else:
            unmatched.append(item)
            found[item] = None
    if unmatched and len(unmatched) == len(found):
        raise TlkitError(f"no files match {', '.join(map(str, unmatched))}")
    if not found:
        raise TlkitError(f"no images in {described(images)}")
    return list(found)


def _below(folder: Path, show: Progress) -> list[Path]:
    """Return the images below a folder, and note what is not used."""
    refuse_cache_among([folder])
    tree = read_tree(folder)
    unused, unreadable = left_out(tree, f"{folder}/")
    for line in unused_lines(unused):
        show.note(line)
    for path, reason in unreadable[:MAX_NOTED]:
        show.note(f"cannot read {path}: {reason}")
    if len(unreadable) > MAX_NOTED:
        show.note(f"... and {plural(len(unreadable) - MAX_NOTED, 'more place')} that cannot be read")
    return [folder / file for file in tree.files()]


def _remote(item: RemotePath, show: Progress) -> list[Path]:
    """Return the images of a folder in an object store, or one file.

    Raises:
        TlkitError: It is a table or a pattern, or the store cannot be read.
    """
    if item.suffix.lower() in IMAGE_SUFFIXES:
        return [item]
    if item.is_dir():
        return _below(item, show)
    if glob.has_magic(str(item)):
        raise TlkitError(f"a pattern does not apply to an object store: {item}", "give the folder")
    if names_table(item):
        raise TlkitError(f"a table must be a local file, not {item}", "download it, and name its files in full")
    if not item.exists():
        raise TlkitError(f"no images in {item}")
    return [item]


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
    return remote_path(text) or Path(local_text(text))


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


def is_pattern(path: Path) -> bool:
    """Return whether a path is a pattern, and not the name of something that exists."""
    return not is_remote(path) and glob.has_magic(str(path)) and not os.path.lexists(path)


def matches(pattern: Path) -> list[Path]:
    """Return what matches a pattern, in natural order. As far as folders of exactly its name exist, they are meant."""
    literal = next((parent for parent in pattern.parents if os.path.lexists(parent)), Path())
    rest = pattern.relative_to(literal)
    hits = glob.glob(str(Path(glob.escape(str(literal))) / rest), recursive=True)  # noqa: PTH207
    return [Path(hit) for hit in natural(hits)]
