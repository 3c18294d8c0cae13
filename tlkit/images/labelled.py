"""Images with their labels, whichever way they are given: class folders, a table, or a folder with its own table."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tlkit.errors import TlkitError
from tlkit.images.folder import ImageFolder, existing_folder, scan
from tlkit.images.split_names import split_of
from tlkit.images.table.columns import Columns
from tlkit.images.table.read import Source, existing_root, read_tables
from tlkit.images.table.text import KINDS, OTHER_KINDS, SUFFIXES, TEXT, names_table
from tlkit.remote import RemotePath, is_remote, listing, local_text, remote_path

METADATA = ("metadata.csv", "metadata.jsonl")
"""Tables by which a folder names its own labels, as Hugging Face's ImageFolder has it."""

PathLike = str | os.PathLike[str]


def labelled_images(images: PathLike, given: Columns | None = None, *, min_classes: int = 2) -> ImageFolder:
    """Find labelled images, without opening any.

    Args:
        images: A folder of class folders, a table, or a folder that holds ``metadata.csv`` or ``metadata.jsonl``.
        given: What the user says of the table.
        min_classes: Number of classes that must have images.

    Raises:
        TlkitError: There is no such folder or table, it cannot be understood, something is said of a table where there
            is none, or fewer than ``min_classes`` classes have images.
    """
    given = given or Columns()
    place = existing_images(images)
    root = place.parent if given.root is None else existing_root(given.root)
    if not place.is_dir():
        return replace(read_tables([Source(place)], given, root, min_classes=min_classes), given=place)
    option = given.first_given()
    if tables := [] if is_remote(place) else _metadata(place):
        root = place if given.root is None else root
        # some folders of classes hold a table of something else
        has_classes = option is None and len(scan(place, min_classes=0).classes) > 1
        try:
            found = read_tables(tables, given, root, min_classes=min_classes, known_only=has_classes)
            return replace(found, given=place)
        except TlkitError as error:
            if not has_classes:
                raise
            remark = f"labels from the class folders; {error.message}"
        return replace(scan(place, min_classes=min_classes), remarks=(remark,))
    if option is not None:
        raise TlkitError(f"{option} requires a table, and {place} is a folder", f"a table ends in {KINDS}")
    if isinstance(place, RemotePath):
        folder = scan(place, min_classes=min_classes)
        unread = [name for name in METADATA if name in listing(place).sizes]
        return replace(folder, remarks=tuple(f"{name} is not read: labels from the class folders" for name in unread))
    try:
        folder = scan(place, min_classes=min_classes)
    except TlkitError as error:
        if table := _table_in(place):
            raise TlkitError(error.message, f"to take the labels from a table: {table}") from None
        raise
    if len(folder.classes) < 2 and (table := _table_in(place)):
        return replace(folder, remarks=(f"to take the labels from a table: {table}",))
    return folder


def existing_images(images: PathLike) -> Path:
    """Return the absolute path of a folder or a table that exists.

    Raises:
        TlkitError: There is none, or it is something else.
    """
    path = remote_path(images) or Path(local_text(images))
    if is_remote(path) and path.suffix.lower() in (*SUFFIXES, *OTHER_KINDS):
        raise TlkitError(f"a table must be a local file, not {path}", "download it, and name its files in full")
    if not names_table(path):
        if path.suffix.lower() in OTHER_KINDS and os.path.isfile(path):  # noqa: PTH113
            raise TlkitError(f"not a folder, and not a table that can be read: {path}", f"a table ends in {KINDS}")
        return existing_folder(path)
    if not os.path.lexists(path):
        raise TlkitError(f"no such file: {path}")
    return Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would replace the user's links)


def data_name(place: Path) -> str:
    """Return what to call a data set: its folder's name, or its table's without suffix."""
    if not names_table(place):
        return place.name
    return place.parent.name if place.name.lower() in METADATA else place.stem


def _metadata(folder: Path) -> list[Source]:
    """Return the tables by which a folder names its labels: its own, or those of its train/, val/ and test/."""
    for name in METADATA:
        if os.path.isfile(folder / name):  # noqa: PTH113  (unlike Path.is_file, never raises)
            return [Source(folder / name)]
    found = []
    for inner in sorted(folder.iterdir()):
        split = split_of(inner.name)
        tables = [inner / name for name in METADATA if split and os.path.isfile(inner / name)]  # noqa: PTH113
        if split and tables:
            found.append(Source(tables[0], f"{inner.name}/", split))
    return found


def _table_in(folder: Path) -> Path | None:
    """Return a table in a folder that may hold its labels."""
    try:
        tables = [each for each in sorted(folder.iterdir()) if names_table(each) and each.suffix.lower() != TEXT]
    except OSError:
        return None
    return next((each for each in tables if "label" in each.name.lower() or "train" in each.name.lower()), None) or (
        tables[0] if tables else None
    )
