"""Find out which folders of a data set are splits, which are classes, and what is not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from tlkit.images.class_names import composed, matched_names, one_spelling
from tlkit.images.doubtful import doubtful_classes, folders_inside
from tlkit.images.layout_faults import ANNOTATIONS, WHOLE, LayoutProblem, fault_of, one_folder_down
from tlkit.images.natural import natural
from tlkit.images.split_names import BESIDE_SPLITS, TRAIN, split_of, splits_among
from tlkit.images.tree import Tree
from tlkit.images.unused import BESIDE, FLAT, LINK, MASKS, OUTSIDE, Unused, left_out
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
        remarks: How the folders were understood where it is not plain, one sentence each.
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
    remarks: list[str] = field(default_factory=list)
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
    _leave_out_masks(found)
    if not found.faults:
        for part in _training_parts(found):
            found.notes += doubtful_classes(part.tree, part.prefix)
            found.remarks += folders_inside(part.tree, part.prefix)
    _name_classes(found)
    _collect(found)
    return found


def _leave_out_masks(found: Arrangement) -> None:
    """Leave out cat/masks/ beside cat/images/, as medical data sets have it."""
    for part in found.parts:
        for name, tree in part.tree.folders.items():
            folders = tree.with_images
            masks = [inner for inner in folders if inner.lower() in ANNOTATIONS]
            if not masks or tree.images or not {inner.lower() for inner in folders if inner not in masks} & WHOLE:
                continue
            rest = {inner: its for inner, its in tree.folders.items() if inner not in masks}
            part.tree.folders[name] = Tree([], rest, tree.others, tree.unreadable, tree.not_followed)
            found.unused += [Unused(f"{part.prefix}{name}/{inner}/", MASKS, folders[inner].count) for inner in masks]


def _training_parts(found: Arrangement) -> list[Part]:
    """Return the parts that classes are learnt from; if there are none, the first."""
    return [part for part in found.parts if part.split in ("", TRAIN)] or found.parts[:1]


def _has_splits(tree: Tree, splits: Mapping[str, str]) -> bool:
    """Return whether the folders named like splits are splits."""
    hold = {split for name, split in splits.items() if tree.folders[name].with_images}
    beside = (name for name, folder in tree.folders.items() if folder.count and name not in splits)
    alone = all(name.lower() in BESIDE_SPLITS for name in beside)
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
                if not inner.count:
                    advice = "add images to it, or remove it; until then, images are drawn from those for training"
                    found.notes.append(LayoutProblem(f"no images in {prefix}", advice))
        elif tree.folders[name].count:
            found.unused.append(Unused(f"{name}/", BESIDE, tree.folders[name].count))
    found.ignored = tuple(name for name in tree.folders if name not in splits)
    if tree.images:
        found.unused.append(Unused("", OUTSIDE, len(tree.images), examples=tuple(tree.images[:3])))
    for part in found.parts:
        inner_splits = splits_among(part.tree.folders)
        if part.split == TRAIN and (fault := fault_of(part.tree, inner_splits, part.prefix)) is not None:
            found.faults.append(fault)
    for one, two in combinations(found.parts, 2):
        if one.tree is two.tree:
            same = f"{one.prefix} and {two.prefix} are the same folder"
            found.untrainable.append(LayoutProblem(same, "remove the link, or let it lead to other images"))
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


def _name_classes(found: Arrangement) -> None:
    """Give each class folder its class: names are compared regardless of case, encoded accents and outer spaces."""
    first = _training_parts(found)
    counts: Counter[str] = Counter()
    for name, tree in ((name, tree) for part in first for name, tree in part.tree.folders.items()):
        counts[name] += tree.count
    spelled = one_spelling({name: counts[name] for name in natural(counts)})
    known = list(dict.fromkeys(spelled.get(name, composed(name)) for name in counts))
    for part in [*first, *(part for part in found.parts if part not in first)]:
        names = list(part.tree.folders)
        own = {} if part in first else one_spelling({name: part.tree.folders[name].count for name in names})
        matches = matched_names(names, known)
        named = {name: matches.get(name, own.get(name, composed(name))) for name in names}
        found.classes |= {(part.prefix, name): its for name, its in named.items()}
        _note_spellings(found, part, named)
        known += dict.fromkeys(its for its in named.values() if its not in known)


def _note_spellings(found: Arrangement, part: Part, named: Mapping[str, str]) -> None:
    """Note names that were matched though they differ."""
    folders: dict[str, list[str]] = {}
    for name, its in named.items():
        if part.tree.folders[name].count:
            folders.setdefault(its, []).append(name)
    for its, names in folders.items():
        if len(names) > 1:
            found.notes.append(_one_class(part, its, names))
            continue
        name = names[0]
        if composed(name) != its:
            message = f"{part.prefix}{name}/ is taken for the class '{its}', which is spelled differently"
            found.notes.append(LayoutProblem(message, f"rename it to '{its}'"))
        elif part.split not in ("", TRAIN) and name != its and not _is_in_training(found, name):
            message = f"{part.prefix}{its}/ is taken for the class '{its}', whose accents are encoded differently"
            found.notes.append(LayoutProblem(message, f"nothing has to be done; renaming it to '{its}' ends this note"))


def _one_class(part: Part, its: str, names: list[str]) -> LayoutProblem:
    """Say that several folders are taken for one class."""
    if len({composed(name) for name in names}) == 1:
        message = f"{part.prefix}{its}/ is there twice, with accents encoded in two ways: one class"
        return LayoutProblem(message, "move the images into one folder")
    folders = " and ".join(f"'{part.prefix}{name}/'" for name in names)
    message = f"{folders} are taken for one class, '{its}': their names differ only in case or spaces"
    return LayoutProblem(message, "move the images into one folder, or give the folders different names", True)


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
        unused, unreadable = left_out(tree, place)
        if unreadable and not tree.count:
            found.faults.insert(0, _unreadable_folder(place, "{}: {}".format(*unreadable[0]), "class"))
        found.unused += unused
        found.unreadable += unreadable


def _unreadable_folder(place: str, reason: str, kind: str) -> LayoutProblem:
    return LayoutProblem(f"cannot read the {kind} folder {place}: {reason}", "make it readable, or move it away")
