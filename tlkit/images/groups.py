"""Groups of images that belong together, such as those of one site, patient, clip or day."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from tlkit.errors import TlkitError
from tlkit.images.capture import read_captures
from tlkit.images.duplicates import Pair, group_pairs
from tlkit.images.folder import ImageFolder
from tlkit.images.group_spec import EXIF_CAMERA, EXIF_DATE, FOLDER, NAMES, split_table
from tlkit.images.group_table import groups_from_table
from tlkit.images.natural import natural
from tlkit.words import plural

BLOCKS, MIN_BLOCK = 10, 4  # blocks of neighbouring names in a class, and images in each

JOINED = 0.1  # share of the images that groups joined by copies may hold

_WITHOUT = {
    FOLDER: ("no image is in a sub-folder of its class folder", "put the images of a group into a sub-folder"),
    EXIF_DATE: ("no image says in its EXIF data on which day it was taken", "many programs remove EXIF data"),
    EXIF_CAMERA: ("no image names its camera in its EXIF data", "many programs remove EXIF data"),
    NAMES: ("too few images for blocks of neighbouring names", f"a class needs {2 * MIN_BLOCK} images"),
}


def with_groups(folder: ImageFolder, by: str, workers: int | None = None) -> ImageFolder:
    """Return the folder with the group of each image.

    Args:
        folder: The images.
        by: A value that `group_spec` has checked.
        workers: Number of threads that read EXIF data; None: one per processor.

    Raises:
        TlkitError: The table cannot be used, or no image belongs to a group.
    """
    groups = group_names(folder, by, workers)
    if not any(groups):
        raise without_groups(folder, by)
    return replace(folder, groups=tuple(groups))


def without_groups(folder: ImageFolder, by: str) -> TlkitError:
    """Return the error for a folder in which no image belongs to a group."""
    return TlkitError(
        *_WITHOUT.get(
            by, (f"--groups '{by}' matches no path", f"paths are such as {folder.files[0] if folder.files else ''}")
        )
    )


def group_names(folder: ImageFolder, by: str, workers: int | None = None) -> list[str]:
    """Return the name of the group of each image, "" for images that belong to none.

    Raises:
        TlkitError: The table cannot be used.
    """
    if by == FOLDER:
        return [
            _sub_folder(file, folder.classes[label]) for file, label in zip(folder.files, folder.labels, strict=True)
        ]
    if by == NAMES:
        return blocks_of_names(folder.files, folder.labels)
    if by in (EXIF_DATE, EXIF_CAMERA):
        captures = read_captures(folder.paths, workers)
        return [each.day if by == EXIF_DATE else each.camera for each in captures]
    if (table := split_table(by)) is not None:
        return groups_from_table(Path(table[0]), table[1], folder.root, folder.files)
    pattern = re.compile(by)
    return [_matched(pattern, file) for file in folder.files]


def described(folder: ImageFolder, by: str) -> str:
    """How many groups there are, in a few words."""
    sizes = Counter(group for group in folder.groups if group)
    alone = len(folder.files) - sum(sizes.values())
    text = f"{plural(len(sizes), 'group')} of images by {by}, which stay on one side of every split"
    if alone:
        text += f"; {plural(alone, 'image')} in none"
    return text


def group_pairs_of(groups: Sequence[str]) -> list[tuple[int, int]]:
    """Return pairs of indices that connect the images of each group; images without a name are in none."""
    first: dict[str, int] = {}
    return [(first.setdefault(name, index), index) for index, name in enumerate(groups) if name]


def joined_groups(names: Sequence[str], copies: Sequence[Pair], count: int) -> list[int]:
    """Return a group number for each image, such that images of a group, and copies of one image, share one.

    Copies in two groups join them, as long as the result holds at most `JOINED` of all images. Where empty photos of
    all sites look the same, no groups would be left otherwise.

    Args:
        names: Name of the group of each image, "" for none; may be empty.
        copies: Pairs of indices that are copies of one image.
        count: Number of images.
    """
    if not any(names):
        return group_pairs(copies, count)
    number = group_pairs(group_pairs_of(names), count)
    size = Counter(number)
    kept: list[Pair] = []
    above: dict[int, int] = {}

    def top(group: int) -> int:
        while group in above:
            group = above[group]
        return group

    for one, two in copies:
        low, high = sorted((top(number[one]), top(number[two])))
        if low == high:
            continue
        if min(size[low], size[high]) == 1 or size[low] + size[high] <= JOINED * count:
            above[high] = low
            size[low] += size.pop(high)
            kept.append((one, two))
    return group_pairs([*group_pairs_of(names), *kept], count)


def is_divided(folder: ImageFolder, indices: Sequence[int]) -> bool:
    """Whether some images are in more than one split of their folder."""
    return len({folder.splits[index] for index in indices}) > 1


def divided_groups(folder: ImageFolder) -> tuple[str, ...]:
    """Return the names of groups that have images in more than one split of the folder, in the order of the images."""
    splits: dict[str, set[str]] = {}
    for name, split in zip(folder.groups, folder.splits, strict=False):
        splits.setdefault(name, set()).add(split)
    return tuple(name for name, its in splits.items() if name and len(its) > 1)


def blocks_of_names(files: Sequence[str], labels: Sequence[int]) -> list[str]:
    """Return blocks of images whose file names follow each other, named by their first file.

    Where all classes share one series of names, such as the numbers of a camera, so do the blocks.
    """
    names = [file.rsplit("/", 1)[-1] for file in files]
    shared = len(set(names)) == len(names) and len({_prefix(name) for name in names}) == 1
    if shared:
        order = _in_order(range(len(files)), names)
        blocks = next((found for count in (10, 20, 40, 80) if _enough(found := _cut(order, count), labels)), None)
        if blocks is None:
            shared = False
    if not shared:
        by_class: dict[int, list[int]] = {}
        for index, label in enumerate(labels):
            by_class.setdefault(label, []).append(index)
        blocks = [block for its in by_class.values() for block in _cut(_in_order(its, files), BLOCKS)]
    names_of = [""] * len(files)
    for block in blocks or []:
        for index in block:
            names_of[index] = files[block[0]]
    return names_of


def _in_order(indices: Sequence[int], names: Sequence[str]) -> list[int]:
    place = {name: number for number, name in enumerate(natural({names[index] for index in indices}))}
    return sorted(indices, key=lambda index: place[names[index]])


def _cut(order: Sequence[int], count: int) -> list[list[int]]:
    count = min(count, len(order) // MIN_BLOCK)
    if count < 2:
        return []
    ends = [round(number * len(order) / count) for number in range(count + 1)]
    return [list(order[start:stop]) for start, stop in pairwise(ends)]


def _enough(blocks: Sequence[Sequence[int]], labels: Sequence[int]) -> bool:
    """Whether every class is in half as many blocks as there are at least in a class of its own."""
    kinds = Counter(label for block in blocks for label in {labels[index] for index in block})
    return bool(kinds) and min(kinds[label] for label in set(labels)) >= BLOCKS // 2


def _prefix(name: str) -> str:
    """The name up to its first digit."""
    return re.split("[0-9]", name, maxsplit=1)[0]


def _sub_folder(file: str, label: str) -> str:
    """The sub-folder inside the class folder; with a table of labels, the folder of the image."""
    parts = file.split("/")[:-1]
    if label in parts:
        parts = parts[parts.index(label) + 1 :][:1]
    return "/".join(parts)


def _matched(pattern: re.Pattern[str], file: str) -> str:
    found = pattern.search(file)
    if found is None:
        return ""
    return (found.group(1) or "") if pattern.groups else found.group()
