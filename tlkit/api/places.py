"""Where the images of a command lie, so that nothing is written among them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.api.inputs import is_pattern, listed, matches
from tlkit.files import ImagePlaces, check_outputs
from tlkit.images.folder import ImageFolder
from tlkit.images.table.columns import Columns
from tlkit.images.table.read import table_files
from tlkit.images.table.text import names_table
from tlkit.remote import is_remote

if TYPE_CHECKING:
    from tlkit.api.inputs import Images


def places_named(images: Images, columns: Columns | None = None) -> ImagePlaces:
    """Return where images lie, as they are named: folders, and the folders of the files in tables.

    Args:
        images: As for `tlkit.api.inputs.find_images`.
        columns: What the user says of tables.

    Raises:
        TlkitError: A table cannot be understood.
    """
    within: list[Path] = []
    beside: list[Path] = []
    items = listed(images)
    for item in items:
        if not isinstance(item, Path):
            continue
        if is_remote(item):
            within.append(item)
        elif names_table(item) and os.path.isfile(item):  # noqa: PTH113
            if len(items) == 1:  # among others, it may be anything
                beside += dict.fromkeys(file.parent for file in table_files(item, columns or Columns()))
        else:
            hits = matches(item) if is_pattern(item) else [item]
            within += [hit for hit in hits if os.path.isdir(hit)]  # noqa: PTH112
    return ImagePlaces(tuple(within), tuple(beside))


def places_of(folder: ImageFolder) -> ImagePlaces:
    """Return where labelled images lie: in a folder of class folders, or in the folders that a table names."""
    if folder.table is None or folder.source.is_dir():
        return ImagePlaces((folder.source,))
    parents = dict.fromkeys(file.rpartition("/")[0] for file in folder.files)
    return ImagePlaces((), tuple(folder.root / parent for parent in parents))


def check_written(images: Images, columns: Columns, outputs: dict[str, Path | None]) -> None:
    """Check the output files of a command before any work.

    Args:
        images: The images that it reads.
        columns: What the user says of a table.
        outputs: File of each option; None: the option is not used.

    Raises:
        TlkitError: A file cannot be written, lies among the images, or two are the same.
    """
    if any(path is not None for path in outputs.values()):
        check_outputs(places_named(images, columns), outputs)
