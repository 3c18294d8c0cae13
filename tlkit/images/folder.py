"""Scan a folder with one sub-folder per class into an `ImageFolder`."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from natsort import natsorted, ns

from tlkit.errors import TlkitError
from tlkit.images.read import IMAGE_SUFFIXES
from tlkit.words import plural

TRAIN, VAL, TEST = "train", "val", "test"
IMBALANCE = 2.0  # largest class / smallest class; above, plain accuracy misleads, and training weights classes
SPLIT_NAMES = {"train": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "test": TEST}
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
        loose: Number of images outside any class folder, which are not used.
        ignored: Folders next to train/, val/ and test/, which are not used.
        empty_classes: Class folders without images.
        groups: Name of the group of each file, such as its site, patient or clip, or "" if it is in none; empty if no
            groups are known.
            Images of one group stay on one side of every split that is drawn.
        table: The table that names the labels; None: the folders do.
        given: The path that the user gave, if it is not the root.
        dropped: Images that the table names, but that cannot be used.
        remarks: What the table was taken for, one sentence each.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: tuple[int, ...]
    splits: tuple[str, ...]
    loose: int = 0
    ignored: tuple[str, ...] = ()
    empty_classes: tuple[str, ...] = ()
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
        return f"{split}/" if self.table is None else f"split '{split}'"

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

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dump``."""
        return {
            "root": str(self.root),
            "classes": list(self.classes),
            "files": list(self.files),
            "labels": list(self.labels),
            "splits": list(self.splits),
            "loose": self.loose,
            "ignored": list(self.ignored),
            "empty_classes": list(self.empty_classes),
            "groups": list(self.groups),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ImageFolder:
        """Rebuild a folder from the result of `to_json`."""
        return cls(
            root=Path(data["root"]),
            classes=tuple(data["classes"]),
            files=tuple(data["files"]),
            labels=tuple(data["labels"]),
            splits=tuple(data["splits"]),
            loose=data["loose"],
            ignored=tuple(data["ignored"]),
            empty_classes=tuple(data["empty_classes"]),
            groups=tuple(data.get("groups", ())),
        )


def scan(images: str | os.PathLike[str], *, min_classes: int = 2) -> ImageFolder:
    """Find class folders and the images in them, without opening any image.

    Sub-folders of a class folder belong to the class. Links to folders are followed, each real folder once.
    Hidden entries and tlkit's own ``.tlkit`` folders are skipped.

    Args:
        images: The folder.
        min_classes: Number of classes that must have images.

    Raises:
        TlkitError: The folder cannot be read, or fewer than ``min_classes`` classes have images.
    """
    root = existing_folder(images)
    split_folders, ignored = _split_folders(root)
    if split_folders:
        found = [(split, name, file) for split, top in split_folders for name, file in _class_files(top)]
    else:
        found = [("", name, file) for name, file in _class_files(root)]
    classes = tuple(natural(dict.fromkeys(name for _, name, file in found if file is not None)))
    all_names = dict.fromkeys(name for _, name, _ in found)
    tops = [top for _, top in split_folders] or [root]
    loose = sum(len(_listing(top)[1]) for top in tops)
    named = [(split, name, file) for split, name, file in found if file is not None]
    if len(classes) < min_classes:
        raise _too_few_classes(root, classes, loose)
    prefix = root.as_posix().rstrip("/") + "/"  # cheaper than relative_to, which matters with many files
    number = {name: index for index, name in enumerate(classes)}
    return ImageFolder(
        root=root,
        classes=classes,
        files=tuple(file.as_posix()[len(prefix) :] for _, _, file in named),
        labels=tuple(number[name] for _, name, _ in named),
        splits=tuple(split for split, _, _ in named),
        loose=loose,
        ignored=ignored,
        empty_classes=tuple(name for name in all_names if name not in number),
    )


def existing_folder(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a readable folder.

    Raises:
        TlkitError: It does not exist, is not a folder, or cannot be read.
    """
    folder = Path(path)
    try:
        if not folder.exists():
            near = _nearest(folder)
            raise TlkitError(f"no such folder: {folder}", f"did you mean {near}?" if near else None)
        if not folder.is_dir():
            raise TlkitError(f"not a folder: {folder}", LAYOUT_HINT)
        os.listdir(folder)  # noqa: PTH208  (only to find out whether it can be read)
    except OSError as error:
        raise TlkitError(f"cannot read {folder}: {error.strerror or error}") from error
    return Path(os.path.abspath(folder))  # noqa: PTH100  (resolve() would replace the user's links)


def walk_images(top: Path) -> list[Path]:
    """Return all images below ``top`` in natural order; each real folder is entered once, so link loops end."""
    found: list[Path] = []
    seen: set[str] = set()

    def enter(folder: Path) -> None:
        real = os.path.realpath(folder)
        if real in seen:
            return
        seen.add(real)
        folders, images = _listing(folder)
        found.extend(images)
        for inner in folders:
            enter(inner)

    enter(top)
    return found


def natural(names: Any) -> list[Any]:
    """Sort names in natural order, ignoring case: ``img2`` before ``img10``."""
    return natsorted(names, alg=ns.IGNORECASE)


def _listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the visible sub-folders and images of a folder, each in natural order; none if it cannot be read.

    A broken link with the name of an image counts as an image, so that it is reported as unreadable.
    """
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, _is_folder(entry)) for entry in entries if not _hidden(entry.name)]
    except OSError:
        return [], []
    folders = natural(name for name, is_folder in found if is_folder)
    images = natural(name for name, is_folder in found if not is_folder and Path(name).suffix.lower() in IMAGE_SUFFIXES)
    return [folder / name for name in folders], [folder / name for name in images]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that must not be read
        return False


def _hidden(name: str) -> bool:
    # "..name" is not a convention for hidden files, and classes with such names exist
    return (name.startswith(".") and not name.startswith("..")) or name == "__MACOSX" or name.endswith(".tlkit")


def _split_folders(root: Path) -> tuple[list[tuple[str, Path]], tuple[str, ...]]:
    """Return the train/val/test folders and the names of folders next to them, if the folder has that layout.

    A class may be called "train" (railways). So split folders must hold class folders and no images, and if there is
    only one split folder, no other folder next to it may hold images.
    """
    folders, _ = _listing(root)
    splits = [(SPLIT_NAMES[folder.name.lower()], folder) for folder in folders if folder.name.lower() in SPLIT_NAMES]
    others = [folder for folder in folders if folder.name.lower() not in SPLIT_NAMES]
    if TRAIN not in {split for split, _ in splits} or not all(_holds_classes(folder) for _, folder in splits):
        return [], ()
    if len(splits) < 2 and any(walk_images(folder) for folder in others):
        return [], ()
    return splits, tuple(folder.name for folder in others)


def _holds_classes(folder: Path) -> bool:
    folders, images = _listing(folder)
    return bool(folders) and not images


def _class_files(top: Path) -> list[tuple[str, Path | None]]:
    """Return (class name, image) for each image, and (class name, None) for each class folder without images."""
    found: list[tuple[str, Path | None]] = []
    for folder in _listing(top)[0]:
        if os.path.realpath(folder) not in _ancestors(top):
            images: list[Path | None] = [*walk_images(folder)]
            found.extend((folder.name, file) for file in images or [None])
    return found


def _ancestors(folder: Path) -> set[str]:
    real = Path(os.path.realpath(folder))
    return {str(real), *map(str, real.parents)}


def _too_few_classes(root: Path, classes: tuple[str, ...], loose: int) -> TlkitError:
    if not classes:
        if loose:
            images = plural(loose, "image")
            return TlkitError(f"no class folders in {root}, only {images} outside class folders", LAYOUT_HINT)
        return TlkitError(f"no images in {root}", LAYOUT_HINT)
    inner = [folder for folder in _listing(root / classes[0])[0] if walk_images(folder)]
    hint = f"did you mean {root / classes[0]}?" if len(inner) > 1 else "a classifier needs at least two class folders"
    return TlkitError(f"only one class ('{classes[0]}') in {root}", hint)


def _nearest(path: Path) -> str | None:
    from difflib import get_close_matches

    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    except OSError:
        return None
    close = get_close_matches(path.name, names, n=1)
    return str(path.parent / close[0]) if close else None
