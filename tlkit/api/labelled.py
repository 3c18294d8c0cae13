"""Find labelled images for a bundle that is there already, and take one part of them."""

from __future__ import annotations

import os
from dataclasses import replace

from tlkit.api.places import places_of
from tlkit.api.table_options import TableOptions
from tlkit.errors import TlkitError
from tlkit.images.folder import TEST, TRAIN, VAL, ImageFolder
from tlkit.images.labelled import labelled_images
from tlkit.images.layout import passed_over
from tlkit.plan.choices import ALL, AUTO, SPLITS
from tlkit.progress import Progress
from tlkit.store.bound import refuse_cache_among

PathLike = str | os.PathLike[str]


def find_part(images: PathLike, table: TableOptions, split: str, show: Progress) -> tuple[ImageFolder, str]:
    """Find labelled images, note how they are understood and what is not used, and return one part of them.

    Args:
        images: A folder or a table, as for `tlkit.evaluate`.
        table: How a table is to be understood.
        split: One of `SPLITS`.
        show: Progress reporter.

    Raises:
        TlkitError: As `tlkit.images.labelled.labelled_images` and `part_of`.
    """
    folder, part = part_of(labelled_images(images, table.columns, min_classes=1), split)
    refuse_cache_among(places_of(folder).within)
    for line in (*folder.remarks, *passed_over(folder)):
        show.note(line)
    return folder, part


def part_of(folder: ImageFolder, split: str) -> tuple[ImageFolder, str]:
    """Return the images of one part of a folder, and the part's name: "train", "val", "test" or "all".

    Args:
        folder: The images.
        split: One of `SPLITS`.

    Raises:
        TlkitError: There is no such part.
    """
    if split not in SPLITS:
        raise TlkitError(f"unknown --split '{split}'", f"one of {', '.join(SPLITS)}")
    if not folder.has_splits:
        if split not in (AUTO, ALL):
            its = "the folder has class folders" if folder.table is None else "the table has labels"
            raise TlkitError(f"{folder.source} has no {folder.part(split)}", f"leave out --split: {its} only")
        return folder, ALL
    if split == AUTO:
        split = next((each for each in (TEST, VAL) if each in folder.splits), ALL)
    if split == ALL:
        return folder, ALL
    if split not in folder.splits:
        there = [each for each in (TRAIN, VAL, TEST) if each in folder.splits]
        raise TlkitError(f"{folder.source} has no images in {folder.part(split)}", f"there are {', '.join(there)}")
    part = folder.keep([i for i, its in enumerate(folder.splits) if its == split])
    elsewhere = tuple(f"{name}/" for its, name in folder.split_folders if its != split)
    return replace(
        part,
        dropped=tuple(each for each in folder.dropped if each.split in ("", split)),
        unused=tuple(each for each in folder.unused if not each.place.startswith(elsewhere)),
        unreadable=tuple(each for each in folder.unreadable if not each[0].startswith(elsewhere)),
        empty_classes=(),
    ), split
