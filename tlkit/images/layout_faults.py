"""Find layouts of which no classifier of the user's classes can be made, such as splits where classes should be."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tlkit.images.natural import natural
from tlkit.images.split_names import TRAIN, is_day, is_fold, is_numbered, is_of_camera, split_of
from tlkit.images.tree import Tree
from tlkit.words import some

WHOLE = frozenset({"images", "image", "img", "imgs", "jpegimages", "photos"})
ANNOTATIONS = frozenset(
    {
        "masks", "mask", "labels", "label", "annotations", "annotation", "gt", "groundtruth", "ground_truth",
        "segmentation", "segmentationclass", "segmentationobject", "bboxes", "boxes", "depth",
    }
)  # fmt: skip
"""Names of folders for images and for what describes parts of them, in detection and segmentation; lower case."""
TABLE = "or list the files and their labels in a CSV file, and use that as IMAGES"
MAX_PREFIXES = 50  # classes that are looked for in the names of files


@dataclass(frozen=True)
class LayoutProblem:
    """A problem with the layout of a data set, and how to fix it.

    Attributes:
        message: What is wrong, in one sentence.
        advice: How to fix it.
        about_classes: Whether the classes may not be those that the user means, though they can be trained on.
    """

    message: str
    advice: str
    about_classes: bool = False


def fault_of(tree: Tree, splits: Mapping[str, str], prefix: str = "") -> LayoutProblem | None:
    """Return why the folders of a folder are not classes; None: they may be.

    Args:
        tree: The folder that should hold class folders.
        splits: Split by name of those folders that are named like one.
        prefix: The path before their names, for messages.
    """
    named = tree.with_images
    if (fault := _one_folder_twice(named, prefix)) is not None:
        return fault
    if named and all(name in splits or is_fold(name) for name in named):
        if any(name in splits for name in named):
            return _flat_splits(named, prefix)
        if len(named) > 1:
            return _folds(named, prefix)
    return (
        _annotations(tree, prefix)
        or _of_camera(named, prefix)
        or _groups_outside(named, prefix)
        or _splits_inside(named, prefix)
        or _split_among_classes(named, splits, prefix)
        or _misspelled_split(named, splits, prefix)
        or _split_beside_others(named, splits, prefix)
    )


def _one_folder_twice(named: Mapping[str, Tree], prefix: str) -> LayoutProblem | None:
    """Find class folders that are the same folder by a link."""
    seen: dict[int, str] = {}
    for name, tree in named.items():
        other = seen.setdefault(id(tree), name)
        if other != name:
            return LayoutProblem(
                f"{prefix}{other}/ and {prefix}{name}/ are the same folder", f"remove the link {prefix}{name}"
            )
    return None


def _of_camera(named: Mapping[str, Tree], prefix: str) -> LayoutProblem | None:
    """Find folders as cameras name them, or days."""
    if len(named) < 2:
        return None
    for kind, means in (("by a camera", is_of_camera), ("like days", is_day)):
        if all(map(means, named)):
            return LayoutProblem(
                f"all folders are named {kind}, not like classes: {_places(named, prefix)}",
                "make one folder for each class; if these are the classes, rename the folders",
            )
    return None


def _groups_outside(named: Mapping[str, Tree], prefix: str) -> LayoutProblem | None:
    """Find site1/cat/, site1/dog/ and site2/cat/, site2/dog/, in place of cat/site1/."""
    if not is_numbered(named) or len(named) < 2 or any(tree.images for tree in named.values()):
        return None
    inside = [frozenset(tree.with_images) for tree in named.values()]
    inner = natural(frozenset().union(*inside))
    if len(inner) < 2 or is_numbered(inner) or len(set(inside)) > 1:
        return None
    first = next(iter(named))
    return LayoutProblem(
        f"all folders hold the same folders ({some(inner)}), so those are probably the classes, not "
        f"{_places(named, prefix)}",
        f"put the classes outside, as in {prefix}{inner[0]}/{first}/; --groups folder then keeps the images of each of "
        f"{_places(named, '')} together",
    )


def _split_beside_others(named: Mapping[str, Tree], splits: Mapping[str, str], prefix: str) -> LayoutProblem | None:
    """Find train/cat/, train/dog/ beside a folder that holds only images."""
    for name, split in splits.items():
        inner = named[name].with_images if name in named else {}
        beside = [each for each in named if each != name]
        if len(inner) > 1 and not named[name].images and not any(named[each].with_images for each in beside):
            return LayoutProblem(
                f"{prefix}{name}/ looks like a split, since it holds folders ({some(inner)}), and "
                f"{_places(beside, prefix)} beside it no folders",
                f"if its folders are the classes, give {prefix}{name} as IMAGES, or move away what is beside it; if "
                f"'{name}' is a class, move its images out of its folders"
                if split == TRAIN
                else f"if its folders are the classes, put the others into {prefix}{TRAIN}/",
            )
    return None


def _flat_splits(named: Mapping[str, Tree], prefix: str) -> LayoutProblem:
    places = some([f"{prefix}{name}/" for name in named])
    first = next(iter(named))
    each = [prefixes_of(tree.images) for tree in named.values()]
    classes = prefixes_of(file for tree in named.values() for file in tree.images) or next(filter(None, each), [])
    advice = f"move the images of each class into a folder of its own, such as {prefix}{first}/cat/, {TABLE}"
    if classes:
        advice = f"the file names begin with {some(classes)}: {advice.replace('/cat/', f'/{classes[0]}/')}"
    return LayoutProblem(f"named like splits, but without class folders in them: {places}", advice)


def _folds(named: Mapping[str, Tree], prefix: str) -> LayoutProblem:
    message = f"all folders are named like folds or parts of one data set, not like classes: {_places(named, prefix)}"
    if any(tree.with_images for tree in named.values()):
        return LayoutProblem(
            message, "move their class folders together, as in cat/ and dog/; tlkit draws its own folds"
        )
    return LayoutProblem(message, "make one folder for each class; if these are the classes, rename the folders")


def _annotations(tree: Tree, prefix: str) -> LayoutProblem | None:
    """Find images/ beside masks/ or labels/, as for segmentation and detection."""
    named = tree.with_images
    if not named or not {name.lower() for name in named} <= WHOLE | ANNOTATIONS:
        return None
    beside = [name for name in tree.folders if name.lower() in ANNOTATIONS]
    if not beside or not any(name.lower() in WHOLE for name in named):
        return None
    message = f"a layout for detection or segmentation, without class folders: {_places([*named, *beside], prefix)}"
    return LayoutProblem(message, f"tlkit gives one label to a whole image: make one folder for each class, {TABLE}")


def _splits_inside(named: Mapping[str, Tree], prefix: str) -> LayoutProblem | None:
    """Find class/train/ in place of train/class/, and class/fold1/."""
    if len(named) < 2 or any(tree.images or not tree.with_images for tree in named.values()):
        return None
    inner = {name for tree in named.values() for name in tree.with_images}
    first = next(iter(named))
    shown = some([f"{prefix}{first}/{name}/" for name in named[first].with_images])
    if all(is_fold(name) for name in inner) and len(inner) > 1:
        return LayoutProblem(
            f"the folders inside the class folders are named like folds or parts of one data set: {shown}",
            "move their images up into the class folders; tlkit draws its own folds",
        )
    if not all(split_of(name) for name in inner) or TRAIN not in map(split_of, inner):
        return None
    return LayoutProblem(
        f"the split folders are inside the class folders, so they are not used as splits: {shown}",
        "move them up: train/<class>/ and val/<class>/ instead of <class>/train/ and <class>/val/",
    )


def _split_among_classes(named: Mapping[str, Tree], splits: Mapping[str, str], prefix: str) -> LayoutProblem | None:
    """Find cat/, dog/ and test/cat/, test/dog/."""
    for name in splits:
        inner = named[name].with_images if name in named else {}
        beside = [each for each in named if each not in splits]
        if inner and not named[name].images and set(inner) <= set(beside):
            return LayoutProblem(
                f"{prefix}{name}/ looks like a split: it holds folders named like those beside it ({some(inner)})",
                f"move the folders beside it into {prefix}{TRAIN}/, as in {prefix}{TRAIN}/{next(iter(inner))}/"
                if splits[name] != TRAIN
                else f"keep the class folders either in {prefix}{name}/ or beside it",
            )
    return None


def _misspelled_split(named: Mapping[str, Tree], splits: Mapping[str, str], prefix: str) -> LayoutProblem | None:
    """Find trian/cat/, trian/dog/ beside test/cat/, test/dog/."""
    for name in splits:
        inner = set(named[name].with_images) if name in named else set()
        for other in named:
            same = inner & set(named[other].with_images)
            if other not in splits and len(same) > 1 and _may_be_split(other, name, set(splits.values())):
                return LayoutProblem(
                    f"{prefix}{name}/ looks like a split, and {prefix}{other}/ holds the same folders "
                    f"({some(sorted(same))})",
                    f"rename {prefix}{other}/ to {TRAIN}/, val/ or test/",
                )
    return None


def _may_be_split(other: str, name: str, splits: set[str]) -> bool:
    """Return whether a folder beside a split folder is one as well, though it is not named like one."""
    small = other.lower()
    if TRAIN not in splits and name.lower().startswith(("test", "validation", "holdout")):
        return True
    usual = ["train", "training", "val", "valid", "validation", "test", "testing"]
    # "invalid" is the opposite of "valid", not a mistake in writing it
    return not any(word in small for word in usual) and bool(get_close_matches(small, usual, n=1, cutoff=0.75))


def one_folder_down(root: Path, tree: Tree) -> Path | None:
    """Return the folder that holds the class or split folders, if each folder on the way to it holds nothing else."""
    path = root
    while len(tree.with_images) == 1 and not tree.images:
        name, inner = next(iter(tree.with_images.items()))
        if split_of(name) and path != root:
            return path
        path, tree = path / name, inner
    return path if len(tree.with_images) > 1 and path != root else None


def prefixes_of(names: Iterable[str]) -> list[str]:
    """Return the words that file names begin with, if they look like classes.

    Empty: there are none, or only one.

    Example:
        >>> prefixes_of(["cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"])
        ['cat', 'dog']
    """
    words = Counter(_prefix(name) for name in names)
    few = min(words.values(), default=0)
    return sorted(words) if 1 < len(words) <= MAX_PREFIXES and few > 1 and "" not in words else []


def _prefix(name: str) -> str:
    found = re.match(r"(.*?[^\W\d_])[\s._-]*\d", os.path.splitext(name)[0])  # noqa: PTH122
    return found.group(1) if found else ""


def _places(names: Iterable[str], prefix: str) -> str:
    return some([f"{prefix}{name}/" for name in dict.fromkeys(names)])
