"""Find problems with the layout of an image folder, and advise how to fix them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tlkit.images.folder import SPLIT_NAMES, TRAIN, ImageFolder
from tlkit.words import plural


@dataclass(frozen=True)
class LayoutProblem:
    """A problem with the folder layout, and how to fix it."""

    message: str
    advice: str


def layout_problems(folder: ImageFolder) -> list[LayoutProblem]:
    """Return all layout problems, worst first; no file is opened."""
    found = [*_nested(folder), *_class_first(folder), *_split_classes(folder), *_unused(folder), *_twins(folder)]
    if len(folder.classes) < 2 and not found:
        count = plural(len(folder.classes), "class", "classes")
        what = "class folders" if folder.table is None else "labels"
        found.append(LayoutProblem(f"only {count}", f"a classifier needs at least two {what}"))
    return found


def _nested(folder: ImageFolder) -> list[LayoutProblem]:
    """Find a single class folder that holds the real class folders."""
    if len(folder.classes) != 1 or folder.has_splits or folder.table is not None:
        return []
    inner = sorted({file.split("/")[1] for file in folder.files if file.count("/") > 1})
    if len(inner) < 2:
        return []
    path = folder.root / folder.classes[0]
    return [LayoutProblem(f"all class folders are one level down, in '{folder.classes[0]}'", f"use {path}")]


def _class_first(folder: ImageFolder) -> list[LayoutProblem]:
    """Find class/train/ in place of train/class/."""
    if folder.has_splits or len(folder.classes) < 2 or folder.table is not None:
        return []
    second = Counter(file.split("/")[1].lower() for file in folder.files if file.count("/") > 1)
    if TRAIN not in second or sum(second[name] for name in SPLIT_NAMES) < len(folder.files):
        return []
    return [
        LayoutProblem(
            "the split folders are inside the class folders, so they are not used as splits",
            "move them up: train/<class>/ and val/<class>/ instead of <class>/train/ and <class>/val/",
        )
    ]


def _split_classes(folder: ImageFolder) -> list[LayoutProblem]:
    found = []
    train = folder.counts(TRAIN)
    for split in sorted(set(folder.splits) - {"", TRAIN}):
        counts, part, trained = folder.counts(split), folder.part(split), folder.part(TRAIN)
        unknown = [name for name, count in counts.items() if count and not train[name]]
        missing = [name for name, count in counts.items() if train[name] and not count]
        if unknown:
            message = f"{part} has classes that {trained} does not have: {_some(unknown)}"
            found.append(LayoutProblem(message, f"add them to {trained}"))
        if missing:
            found.append(LayoutProblem(f"{part} lacks classes: {_some(missing)}", f"add images of them to {part}"))
    return found


def _unused(folder: ImageFolder) -> list[LayoutProblem]:
    found = []
    if folder.loose:
        message = f"{plural(folder.loose, 'image')} outside any class folder, not used"
        found.append(LayoutProblem(message, "move them into a class folder, or remove them"))
    if folder.ignored:
        advice = "move the images you need into train/, val/ or test/"
        found.append(LayoutProblem(f"folders next to train/ are not used: {_some(folder.ignored)}", advice))
    if folder.empty_classes:
        advice = "add images to these folders, or remove them"
        found.append(LayoutProblem(f"no images in: {_some(folder.empty_classes)}", advice))
    return found


def _twins(folder: ImageFolder) -> list[LayoutProblem]:
    """Find classes with names that differ only in case or surrounding spaces."""
    seen: dict[str, str] = {}
    found = []
    for name in folder.classes:
        key = name.strip().casefold()
        if key in seen:
            message = f"'{seen[key]}' and '{name}' are separate classes"
            found.append(LayoutProblem(message, "merge them if they are the same class"))
        seen[key] = name
    return found


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
