"""Kept images of a bundle and new ones together, in the order in which a training on all of them would take them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tlkit.api.train.keeping import KEPT_GROUP
from tlkit.backbones.features import Features
from tlkit.bundle.kept import Kept, group_digest
from tlkit.images.folder import TEST, TRAIN, VAL, ImageFolder
from tlkit.images.natural import natural
from tlkit.plan.renames import renamed


@dataclass(frozen=True, eq=False)
class Added:
    """Kept and new images together.

    Attributes:
        folder: All images. The name of a kept one begins with that of the bundle, and there is no such file.
        features: Their features.
        new: Number of new images that are used.
        known: Number of new files that the bundle has already, with the same class.
        changed: Number of kept images that now have another class, since a new file with the same content has it.
    """

    folder: ImageFolder
    features: Features
    new: int
    known: int
    changed: int


@dataclass
class _Image:
    """One image, kept or new: its file, class and so on, and the row of its features."""

    name: str
    label: str
    split: str
    group: str
    row: int
    is_new: bool


def join(
    kept: Kept,
    classes: Sequence[str],
    bundle: str,
    folder: ImageFolder,
    features: Features,
    renames: dict[str, str],
) -> Added:
    """Put kept and new images together.

    A new file with the content of a kept image is that image. If it has another class, the new class counts, unless new
    files contradict each other.

    Args:
        kept: The kept images.
        classes: Class names of the bundle.
        bundle: Name of the bundle.
        folder: The new images.
        features: Their features, of the same blocks.
        renames: New names of classes.

    Raises:
        TlkitError: There is no class of an old name.
    """
    names = renamed((*classes, *(each for each in folder.classes if each not in classes)), renames)
    called = dict(zip((*classes, *(each for each in folder.classes if each not in classes)), names, strict=True))
    has_splits = folder.has_splits or kept.facts.own_validation or kept.facts.own_test
    groups = {group_digest(name): name for name in folder.groups if name}
    old = [
        _Image(
            kept.names[row],
            called[classes[kept.labels[row]]],
            _own_split(kept, row) if has_splits else "",
            groups.get(kept.groups[row], f"{KEPT_GROUP}{kept.groups[row]}") if kept.groups[row] else "",
            row,
            is_new=False,
        )
        for row in range(len(kept))
    ]
    new, known, changed = _new_images(folder, features, kept, old, called, has_splits)
    images = _ordered(old, new, kept.facts.in_folders and folder.table is None)
    return Added(
        _folder_of(images, folder, bundle, kept.facts.in_folders),
        _features_of(images, kept, features),
        len(new),
        known,
        changed,
    )


def _own_split(kept: Kept, row: int) -> str:
    """Return the split of a kept image as its folder had it."""
    own = {VAL: kept.facts.own_validation, TEST: kept.facts.own_test, TRAIN: True}
    return kept.splits[row] if own[kept.splits[row]] else TRAIN


def _new_images(
    folder: ImageFolder,
    features: Features,
    kept: Kept,
    old: Sequence[_Image],
    called: dict[str, str],
    has_splits: bool,
) -> tuple[list[_Image], int, int]:
    """Return the new images, the number of files that are kept images, and that of kept images with a new class."""
    copies: dict[str, list[int]] = defaultdict(list)
    for row, content in enumerate(kept.contents):
        copies[content].append(row)
    said: dict[str, set[str]] = defaultdict(set)
    for index, content in enumerate(features.contents):
        if content in copies:
            said[content].add(called[folder.classes[folder.labels[index]]])
    new, known, changed = [], 0, 0
    for index, file in enumerate(folder.files):
        content, label = features.contents[index], called[folder.classes[folder.labels[index]]]
        rows = copies.get(content, []) if content else []
        if rows and any(old[row].label == label for row in rows):
            known += 1
        elif rows and len(said[content]) == 1:
            for row in rows:
                old[row].label = label
            changed += len(rows)
        else:
            split = folder.splits[index] or (TRAIN if has_splits else "")
            group = folder.groups[index] if folder.groups else ""
            new.append(_Image(file, label, split, group, index, is_new=True))
    return new, known, changed


def _ordered(old: Sequence[_Image], new: Sequence[_Image], by_name: bool) -> list[_Image]:
    """Return all images as one folder would hold them, or those of a table after the others."""
    images = [*old, *new]
    if not by_name:
        return images
    places: dict[str, list[_Image]] = defaultdict(list)
    for image in images:
        places[image.name].append(image)
    return [image for name in in_folder_order(list(places)) for image in places[name]]


def in_folder_order(names: Sequence[str]) -> list[str]:
    """Return paths as a folder is read: the files of each folder before its sub-folders, both in natural order."""
    files = natural(name for name in names if "/" not in name)
    inside: dict[str, list[str]] = defaultdict(list)
    for name in names:
        first, slash, rest = name.partition("/")
        if slash:
            inside[first].append(rest)
    return [*files, *(f"{first}/{rest}" for first in natural(inside) for rest in in_folder_order(inside[first]))]


def _folder_of(images: Sequence[_Image], folder: ImageFolder, bundle: str, in_folders: bool) -> ImageFolder:
    classes = tuple(natural({image.label for image in images}))
    number = {name: index for index, name in enumerate(classes)}
    table = folder.table if in_folders else (folder.table or folder.source)
    return replace(
        folder,
        classes=classes,
        files=tuple(image.name if image.is_new else f"{bundle}/{image.name}" for image in images),
        labels=tuple(number[image.label] for image in images),
        splits=tuple(image.split for image in images),
        groups=tuple(image.group for image in images) if any(image.group for image in images) else (),
        table=table,
        problems=(),
    )


def _features_of(images: Sequence[_Image], kept: Kept, features: Features) -> Features:
    place = {index: row for row, index in enumerate(features.rows)}
    used = [index for index, image in enumerate(images) if not image.is_new or image.row in place]
    matrix = np.empty((len(used), features.matrix.shape[1]), dtype=np.float32)
    for row, index in enumerate(used):
        image = images[index]
        matrix[row] = features.matrix[place[image.row]] if image.is_new else kept.matrix[image.row]
    return replace(
        features,
        matrix=matrix,
        rows=tuple(used),
        contents=tuple((features if each.is_new else kept).contents[each.row] for each in images),
        prints=tuple((features if each.is_new else kept).prints[each.row] for each in images),
        errors={
            index: features.errors[image.row]
            for index, image in enumerate(images)
            if image.is_new and image.row in features.errors
        },
    )
