"""Folders that are not laid out as they should be, and how they should."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tlkit.images.folder import SPLIT_NAMES, TRAIN, ImageFolder


@dataclass(frozen=True)
class LayoutProblem:
    """What is wrong with the folders, and what the right layout is."""

    message: str
    advice: str


def layout_problems(folder: ImageFolder) -> list[LayoutProblem]:
    """All that looks wrong, worst first; nothing is opened."""
    found = [*_nested(folder), *_class_first(folder), *_split_classes(folder), *_unused(folder), *_twins(folder)]
    if len(folder.classes) < 2 and not found:
        found.append(LayoutProblem(f"{len(folder.classes)} class", "a classifier needs two class folders or more"))
    return found


def _nested(folder: ImageFolder) -> list[LayoutProblem]:
    """One class folder that holds the real class folders."""
    if len(folder.classes) != 1 or folder.has_splits:
        return []
    inner = sorted({file.split("/")[1] for file in folder.files if file.count("/") > 1})
    if len(inner) < 2:
        return []
    path = folder.root / folder.classes[0]
    return [LayoutProblem(f"all class folders lie one level down, in '{folder.classes[0]}'", f"use {path}")]


def _class_first(folder: ImageFolder) -> list[LayoutProblem]:
    """class/train/ instead of train/class/."""
    if folder.has_splits or len(folder.classes) < 2:
        return []
    second = Counter(file.split("/")[1].lower() for file in folder.files if file.count("/") > 1)
    if TRAIN not in second or sum(second[name] for name in SPLIT_NAMES) < len(folder.files):
        return []
    return [
        LayoutProblem(
            "splits lie inside the class folders, so they are not seen as splits",
            "move them up: train/<class>/ and val/<class>/ instead of <class>/train/ and <class>/val/",
        )
    ]


def _split_classes(folder: ImageFolder) -> list[LayoutProblem]:
    found = []
    train = folder.counts(TRAIN)
    for split in sorted(set(folder.splits) - {"", TRAIN}):
        counts = folder.counts(split)
        unknown = [name for name, count in counts.items() if count and not train[name]]
        absent = [name for name, count in counts.items() if train[name] and not count]
        if unknown:
            found.append(
                LayoutProblem(f"{split}/ has classes that train/ lacks: {_some(unknown)}", "add them to train/")
            )
        if absent:
            found.append(LayoutProblem(f"{split}/ lacks classes: {_some(absent)}", f"add images of them to {split}/"))
    return found


def _unused(folder: ImageFolder) -> list[LayoutProblem]:
    found = []
    if folder.loose:
        advice = "move them into a class folder, or away"
        found.append(LayoutProblem(f"{folder.loose} images lie outside any class folder and are not used", advice))
    if folder.ignored:
        advice = "move what is needed into train/, val/ or test/"
        found.append(LayoutProblem(f"folders beside train/ are not used: {_some(folder.ignored)}", advice))
    if folder.empty_classes:
        found.append(LayoutProblem(f"no images in: {_some(folder.empty_classes)}", "fill these folders or remove them"))
    return found


def _twins(folder: ImageFolder) -> list[LayoutProblem]:
    """Classes whose names differ only in case or outer spaces."""
    seen: dict[str, str] = {}
    found = []
    for name in folder.classes:
        key = name.strip().casefold()
        if key in seen:
            message = f"'{seen[key]}' and '{name}' count as two classes"
            found.append(LayoutProblem(message, "merge them if they are one"))
        seen[key] = name
    return found


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
