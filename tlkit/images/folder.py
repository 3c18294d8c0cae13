"""Scan a folder with one sub-folder per class into an `ImageFolder`."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tlkit.errors import TlkitError
from tlkit.images.arrangement import Arrangement, arrange
from tlkit.images.layout_faults import TABLE, LayoutProblem, one_folder_down, prefixes_of
from tlkit.images.natural import natural
from tlkit.images.split_names import TEST, TRAIN, VAL
from tlkit.images.tree import Tree, read_tree
from tlkit.images.unused import OUTSIDE, Unused
from tlkit.remote import remote_path
from tlkit.words import plural, some

__all__ = ["IMBALANCE", "LAYOUT_HINT", "TEST", "TRAIN", "VAL", "ImageFolder", "existing_folder", "scan"]

IMBALANCE = 2.0  # largest class / smallest class; above, plain accuracy misleads, and training weights classes
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2")
LAYOUT_HINT = "IMAGES must hold one sub-folder per class, or train/ (and val/, test/) with class folders in it"


class Dropped(NamedTuple):
    """An image that a table names, but that cannot be used.

    Attributes:
        file: Its name as the table has it, or the line if it has none.
        reason: Why it cannot be used.
        label: Its class; empty if there is no single one.
        split: Its split; empty if there is no single one.
    """

    file: str
    reason: str
    label: str = ""
    split: str = ""


@dataclass(frozen=True)
class ImageFolder:
    """The images of a data set, their labels, class names and splits.

    Attributes:
        root: The folder, absolute.
        classes: Class names in natural order; a label is an index into it.
        files: Paths relative to ``root``, with ``/`` between parts.
        labels: Class index of each file.
        splits: "train", "val" or "test" for each file; "" for all files if the folder has no splits of its own.
        ignored: Folders next to train/, val/ and test/, which are not used.
        empty_classes: Class folders without images.
        unused: Images and other files that are not used, by place.
        unreadable: (path, reason) of each folder or link inside a class folder that cannot be read, relative to
            ``root``. Images are not opened, so those that cannot be read are not among them.
        split_folders: (split, folder) of each folder that stands for a split, such as ("val", "Validation").
        problems: Problems with the layout of folders, or the labels of a table, that were found.
        groups: Name of the group of each file, such as its site, patient or clip, or "" if it is in none; empty if no
            groups are known. Images of one group stay on one side of every split that is drawn.
        table: The table that names the labels; None: the folders do.
        given: The path that the user gave, if it is not the root.
        dropped: Images that the table names, but that cannot be used.
        remarks: How the folders or the table were understood where it is not plain, one sentence each.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: tuple[int, ...]
    splits: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    empty_classes: tuple[str, ...] = ()
    unused: tuple[Unused, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    split_folders: tuple[tuple[str, str], ...] = ()
    problems: tuple[LayoutProblem, ...] = ()
    groups: tuple[str, ...] = ()
    table: Path | None = None
    given: Path | None = None
    dropped: tuple[Dropped, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        """The folder or the table that the user gave."""
        return self.given or self.root

    def part(self, split: str) -> str:
        """Return what the user knows the images of a split as: "train/", or "split 'train'" of a table."""
        if self.table is not None:
            return f"split '{split}'"
        folders = [name for its, name in self.split_folders if its == split]
        return f"{folders[0] if len(folders) == 1 else split}/"

    @property
    def has_splits(self) -> bool:
        """Whether the folder has its own splits, such as train/ and val/."""
        return any(self.splits)

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """The path of each image; cached, since callers index it again and again."""
        return tuple(self.root / file for file in self.files)

    def counts(self, split: str | None = None) -> dict[str, int]:
        """Return the number of images of every class, in one split or (None) in all."""
        tally = Counter(label for label, own in zip(self.labels, self.splits, strict=True) if split in (None, own))
        return {name: tally[index] for index, name in enumerate(self.classes)}

    def keep(self, indices: list[int]) -> ImageFolder:
        """Return the folder with only these images, in this order."""
        return replace(
            self,
            files=tuple(self.files[i] for i in indices),
            labels=tuple(self.labels[i] for i in indices),
            splits=tuple(self.splits[i] for i in indices),
            groups=tuple(self.groups[i] for i in indices) if self.groups else (),
        )

    def with_splits(self, splits: list[str]) -> ImageFolder:
        """Return the folder with a split for each image."""
        return replace(self, splits=tuple(splits))


def scan(images: str | os.PathLike[str], *, min_classes: int = 2) -> ImageFolder:
    """Find class folders and the images in them, without opening any image that is named like one.

    Sub-folders of a class folder belong to the class. Links to folders are followed, each real folder once. Hidden
    entries, folders of operating systems and tlkit's own folders are skipped.

    Args:
        images: The folder.
        min_classes: Number of classes that must have images. 0: nothing is refused, and all that is wrong with the
            layout is in ``problems``.

    Raises:
        TlkitError: The folder or a class folder cannot be read, its folders are not classes, or fewer than
            ``min_classes`` classes have images.
    """
    root = existing_folder(images)
    tree = read_tree(root)
    if tree.error is not None:
        raise TlkitError(f"cannot read {root}: {tree.error}")
    found = arrange(tree, root)
    folder = _folder_of(root, found)
    if min_classes:
        faults = found.faults + (found.untrainable if min_classes > 1 and folder.classes else [])
        if len(folder.classes) < min_classes and (not faults or found.is_nested):
            raise _too_few_classes(root, tree, folder)
        if faults:
            raise TlkitError(f"{root}: {faults[0].message}", faults[0].advice)
    return folder


def _folder_of(root: Path, found: Arrangement) -> ImageFolder:
    files: list[str] = []
    names: list[str] = []
    splits: list[str] = []
    for part, name, tree, its_class in found.class_folders():
        its = tree.files(f"{part.prefix}{name}/")
        files += its
        names += [its_class] * len(its)
        splits += [part.split] * len(its)
    classes = tuple(natural(set(names)))
    number = {name: index for index, name in enumerate(classes)}
    return ImageFolder(
        root=root,
        classes=classes,
        files=tuple(files),
        labels=tuple(map(number.__getitem__, names)),
        splits=tuple(splits),
        ignored=found.ignored,
        empty_classes=tuple(name for name in dict.fromkeys(found.classes.values()) if name not in number),
        unused=tuple(found.unused),
        unreadable=tuple(found.unreadable),
        split_folders=tuple((part.split, part.prefix.rstrip("/")) for part in found.parts if part.split),
        problems=(*found.faults, *found.untrainable, *found.notes),
        remarks=tuple(found.remarks),
    )


def existing_folder(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a readable folder.

    Raises:
        TlkitError: It does not exist, is not a folder, or cannot be read.
    """
    if (place := remote_path(path)) is not None:
        if not place.is_dir():
            raise TlkitError(f"no such folder: {place}", LAYOUT_HINT)
        return place
    folder = Path(path)
    try:
        if not folder.exists():
            near = _nearest(folder)
            raise TlkitError(f"no such folder: {folder}", f"did you mean {near}?" if near else LAYOUT_HINT)
        if not folder.is_dir():
            raise TlkitError(f"not a folder: {folder}", LAYOUT_HINT)
        os.listdir(folder)  # noqa: PTH208  (only to find out whether it can be read)
    except OSError as error:
        raise TlkitError(f"cannot read {folder}: {error.strerror or error}") from error
    return Path(os.path.abspath(folder))  # noqa: PTH100  (resolve() would replace the user's links)


def _too_few_classes(root: Path, tree: Tree, folder: ImageFolder) -> TlkitError:
    """Say why there are too few classes: there is one, or there are no images, or none in class folders."""
    if folder.classes:
        inner = one_folder_down(root, tree)
        hints = ["a classifier needs at least two class folders"]
        hints += [each.line() for each in folder.unused if each.why == OUTSIDE]
        hint = f"did you mean {inner}?" if inner else "; ".join(hints)
        return TlkitError(f"only one class ('{folder.classes[0]}') in {root}", hint)
    loose = [each for each in folder.unused if each.why == OUTSIDE]
    if not loose:
        others = [each.line() for each in folder.unused]
        packed = sum((its.others[kind] for _, its in tree.each() for kind in ARCHIVES), 0)
        hint = f"it holds {plural(packed, 'archive')}: unpack them first" if packed else LAYOUT_HINT
        return TlkitError(f"no images in {root}", others[0] if others and not packed else hint)
    hint = LAYOUT_HINT
    if words := prefixes_of(tree.images):
        hint = f"the file names begin with {some(words)}: move the images into folders named like that, {TABLE}"
    images = plural(sum(each.files for each in loose), "image")
    return TlkitError(f"no class folders in {root}, only {images} outside class folders", hint)


def _nearest(path: Path) -> str | None:
    from difflib import get_close_matches

    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    except OSError:
        return None
    close = get_close_matches(path.name, names, n=1)
    return str(path.parent / close[0]) if close else None
