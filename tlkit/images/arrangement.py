"""Find out which folders of a data set are splits, which are classes, and what is not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.images.class_names import composed, matched_names
from tlkit.images.layout_faults import LayoutProblem, fault_of, one_folder_down
from tlkit.images.names import SIDECARS
from tlkit.images.natural import natural
from tlkit.images.split_names import TRAIN, split_of, splits_among
from tlkit.images.tree import Tree
from tlkit.images.unused import BESIDE, FLAT, LINK, OTHER_FILES, OUTSIDE, Unused
from tlkit.words import some

WRAPPERS = ("images", "image", "imgs", "img", "data", "dataset", "photos", "pictures", "classes", "raw", "jpg")


@dataclass(frozen=True)
class Part:
    """A folder that holds class folders.

    Attributes:
        split: "train", "val" or "test"; "" if the data set has no splits of its own.
        prefix: The path before the names of its class folders: "", or one that ends with a slash.
        tree: What it holds.
    """

    split: str
    prefix: str
    tree: Tree


@dataclass
class Arrangement:
    """What the folders of a data set mean.

    Attributes:
        parts: The folders that hold class folders: one for each split folder, or only the data set's own folder.
        classes: The class that each class folder belongs to, by prefix and name.
        unused: Images and other files that are not used.
        ignored: Names of the folders beside the split folders.
        unreadable: (path, reason) of each entry of a class folder that cannot be read.
        faults: Why these are not the user's classes.
        untrainable: Why nothing can be trained on them, while a bundle may be evaluated.
        notes: What else is worth knowing, and what to do about it.
        is_nested: Whether the class folders are in the only folder.
    """

    parts: list[Part]
    classes: dict[tuple[str, str], str] = field(default_factory=dict)
    unused: list[Unused] = field(default_factory=list)
    ignored: tuple[str, ...] = ()
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    faults: list[LayoutProblem] = field(default_factory=list)
    untrainable: list[LayoutProblem] = field(default_factory=list)
    notes: list[LayoutProblem] = field(default_factory=list)
    is_nested: bool = False

    def class_folders(self) -> Iterator[tuple[Part, str, Tree, str]]:
        """Yield part, name, content and class of each class folder."""
        for part in self.parts:
            for name, tree in part.tree.folders.items():
                yield part, name, tree, self.classes[part.prefix, name]


def arrange(tree: Tree, root: Path) -> Arrangement:
    """Find the splits and classes of a data set.

    A class may be called "train" (railways). So a folder is a split only if train/ holds class folders, and if there is
    another split folder or no other folder with images.

    Args:
        tree: What its folder holds.
        root: The folder, for messages.
    """
    splits = splits_among(tree.folders)
    if _has_splits(tree, splits):
        found = _split_layout(tree, splits)
    else:
        found = Arrangement([Part("", "", tree)])
        if (fault := fault_of(tree, splits)) is not None:
            found.faults.append(fault)
        elif (inner := one_folder_down(root, tree)) is not None:
            only = next(iter(tree.with_images))
            found.is_nested = True
            found.untrainable.append(
                LayoutProblem(f"all class folders are one level down, in '{only}'", f"use {inner}")
            )
        found.notes += _splits_as_classes(tree)
    _name_classes(found)
    _collect(found)
    return found


def _has_splits(tree: Tree, splits: Mapping[str, str]) -> bool:
    """Return whether the folders named like splits are splits."""
    hold = {split for name, split in splits.items() if tree.folders[name].with_images}
    alone = not any(folder.count for name, folder in tree.folders.items() if name not in splits)
    if TRAIN in hold:
        return alone or len({*splits.values()}) > 1
    return alone and bool(hold) and TRAIN not in splits.values()


def _split_layout(tree: Tree, splits: Mapping[str, str]) -> Arrangement:
    found = Arrangement([])
    for name in tree.folders:
        if name in splits:
            prefix, inner = _unwrapped(f"{name}/", tree.folders[name])
            if inner.error is not None:
                found.faults.append(_unreadable_folder(prefix, inner.error, "split"))
            elif inner.images and not inner.with_images:
                found.unused.append(Unused(prefix, FLAT, len(inner.images), examples=tuple(inner.images[:3])))
            else:
                found.parts.append(Part(splits[name], prefix, inner))
        elif tree.folders[name].count:
            found.unused.append(Unused(f"{name}/", BESIDE, tree.folders[name].count))
    found.ignored = tuple(name for name in tree.folders if name not in splits)
    if tree.images:
        found.unused.append(Unused("", OUTSIDE, len(tree.images), examples=tuple(tree.images[:3])))
    for part in found.parts:
        inner_splits = splits_among(part.tree.folders)
        if part.split == TRAIN and (fault := fault_of(part.tree, inner_splits, part.prefix)) is not None:
            found.faults.append(fault)
    if TRAIN not in (part.split for part in found.parts):
        there = some([part.prefix for part in found.parts])
        advice = f"name the folder with the training images {TRAIN}/, or give the class folders themselves as IMAGES"
        found.untrainable.append(LayoutProblem(f"no training images: there is no {TRAIN}/, only {there}", advice))
    return found


def _unwrapped(prefix: str, tree: Tree) -> tuple[str, Tree]:
    """Enter a folder that only wraps the class folders of a split, as in ``train/train/cat``, ``train/images/cat``."""
    outer = prefix
    while len(tree.with_images) == 1 and not tree.images:
        name, inner = next(iter(tree.with_images.items()))
        named = name.lower() in WRAPPERS or split_of(name) or f"{name}/" == outer
        if not named or inner.images or not inner.with_images:
            break
        prefix, tree = f"{prefix}{name}/", inner
    return prefix, tree


def _splits_as_classes(tree: Tree) -> Iterator[LayoutProblem]:
    for name in tree.with_images:
        if split := split_of(name):
            yield LayoutProblem(
                f"{name}/ is used as a class, though it is named like a split",
                f"if it is one, move the other folders into train/, and class folders into {split}/; else ignore this",
            )


def _name_classes(found: Arrangement) -> None:
    """Give each class folder its class: names are compared across splits regardless of case and encoded accents."""
    first = [part for part in found.parts if part.split == TRAIN] or found.parts[:1]
    known = list(dict.fromkeys(composed(name) for part in first for name in part.tree.folders))
    for part in [*first, *(part for part in found.parts if part not in first)]:
        names = list(part.tree.folders)
        matches = matched_names(names, known)
        for name in names:
            found.classes[part.prefix, name] = matches.get(name, composed(name))
        _note_spellings(found, part, {name: matches.get(name, composed(name)) for name in names})
        known += [name for name in map(composed, names) if name not in known and name not in matches]


def _note_spellings(found: Arrangement, part: Part, named: Mapping[str, str]) -> None:
    """Note names that were matched though they differ."""
    times = Counter(named.values())
    noted = set()
    for name, its in named.items():
        if not part.tree.folders[name].count or its in noted:
            continue
        if times[its] > 1:
            noted.add(its)
            message = f"{part.prefix}{its}/ is there twice, with accents encoded in two ways: one class"
            found.notes.append(LayoutProblem(message, "move the images into one folder"))
        elif composed(name) != its:
            message = f"{part.prefix}{name}/ is taken for the class '{its}', which is spelled differently"
            found.notes.append(LayoutProblem(message, f"rename it to '{its}'"))
        elif part.split not in ("", TRAIN) and name != its and not _is_in_training(found, name):
            message = f"{part.prefix}{its}/ is taken for the class '{its}', whose accents are encoded differently"
            found.notes.append(LayoutProblem(message, f"nothing has to be done; renaming it to '{its}' ends this note"))


def _is_in_training(found: Arrangement, name: str) -> bool:
    return any(name in part.tree.folders for part in found.parts if part.split == TRAIN)


def _collect(found: Arrangement) -> None:
    """Collect what cannot be read and what is not used, and refuse class folders that cannot be read."""
    for part in found.parts:
        outside = part.tree.images
        if outside:
            found.unused.append(Unused(part.prefix, OUTSIDE, len(outside), examples=tuple(outside[:3])))
        found.unreadable += [(f"{part.prefix}{name}", reason) for name, reason in part.tree.unreadable.items()]
        found.unused += [Unused(f"{part.prefix}{name}", LINK, 1) for name in part.tree.not_followed]
    for part, name, tree, _ in found.class_folders():
        place = f"{part.prefix}{name}/"
        if tree.error is not None:
            found.faults.insert(0, _unreadable_folder(place, tree.error, "class"))
            continue
        others: Counter[str] = Counter()
        unreadable: list[tuple[str, str]] = []
        for before, folder in tree.each(place):
            others.update(folder.others)
            if folder.error is not None:
                unreadable.append((before.rstrip("/"), folder.error))
            unreadable += [(before + each, reason) for each, reason in folder.unreadable.items()]
            found.unused += [Unused(before + each, LINK, 1) for each in folder.not_followed]
        if unreadable and not tree.count:
            found.faults.insert(0, _unreadable_folder(place, "{}: {}".format(*unreadable[0]), "class"))
        found.unreadable += unreadable
        for is_sidecar in (False, True):
            kinds = tuple((kind, others[kind]) for kind in natural(others) if (kind in SIDECARS) == is_sidecar)
            if kinds:
                found.unused.append(Unused(place, OTHER_FILES, sum(count for _, count in kinds), kinds))


def _unreadable_folder(place: str, reason: str, kind: str) -> LayoutProblem:
    return LayoutProblem(f"cannot read the {kind} folder {place}: {reason}", "make it readable, or move it away")
