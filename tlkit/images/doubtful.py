"""Find classes that can be trained on, but may not be those that the user means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from tlkit.images.class_names import name_key
from tlkit.images.layout_faults import ANNOTATIONS, LayoutProblem
from tlkit.images.natural import natural
from tlkit.images.split_names import is_numbered, is_year, split_of
from tlkit.images.tree import Tree
from tlkit.words import plural, some

_COPY: Final = re.compile(r"(?:copy of )?(.+?)(?:\s*\([0-9]+\)|[\s_-]*\bcopy\b(?:[\s_(]*[0-9]+\)?)?)?", re.IGNORECASE)
_MASK: Final = re.compile(r"(.+?)[_-](?:mask|masks|seg|segmentation|gt|groundtruth|label|annotation)(?:[_-]?[0-9]+)?")
_NOT_CLASSES: Final = {
    *ANNOTATIONS,
    *("thumbnails", "thumbs", "thumb", "previews", "augmented", "output", "outputs", "results", "predictions"),
    *("heatmaps", "overlays", "unlabeled", "unlabelled", "unsorted", "tmp", "temp", "backup", "cache"),
}
"""Names of folders that hold something else than a class; lower case."""
MIN_MASKS: Final = 3  # files named like masks of others, below which nothing is said


def doubtful_classes(tree: Tree, prefix: str) -> Iterator[LayoutProblem]:
    """Yield why class folders may not be the classes that are meant.

    Args:
        tree: The folder that holds them.
        prefix: The path before their names, for messages.
    """
    named = tree.with_images
    yield from _odd_names(named, prefix)
    yield from _second_parts(named, prefix)
    yield from _same_inside(named, prefix)
    yield from _inside_another(named, prefix)
    yield from _masks(named, prefix)


def folders_inside(tree: Tree, prefix: str) -> Iterator[str]:
    """Yield which folders are the classes if all of them hold further folders, whose names differ.

    Args:
        tree: The folder that holds the class folders.
        prefix: The path before their names.
    """
    named = tree.with_images
    inner = {f"{prefix}{name}/{each}/": each for name, its in named.items() for each in its.with_images}
    each_holds_some = all(not its.images and len(its.with_images) > 1 for its in named.values())
    if len(named) > 1 and each_holds_some and not is_numbered(inner.values()) and not same_inside(named):
        yield f"the classes are {some(named)}, with all that is in them: {some(inner)} are no classes of their own"


def _odd_names(named: Mapping[str, Tree], prefix: str) -> Iterator[LayoutProblem]:
    for name in named:
        if (split := split_of(name)) and not {f"in{name}".lower()} & {each.lower() for each in named}:
            yield LayoutProblem(
                f"{prefix}{name}/ is used as a class, though it is named like a split",
                f"if it is one, move the other folders into train/, and class folders into {split}/; else ignore this",
                about_classes=True,
            )
        elif name.lower() in _NOT_CLASSES:
            yield LayoutProblem(
                f"{prefix}{name}/ is used as a class, though its name means something else",
                "if it is no class, move it out of the folder; else ignore this",
                about_classes=True,
            )
    if len(named) > 1 and all(map(is_year, named)):
        yield LayoutProblem(
            f"all classes are named like years: {_places(named, prefix)}",
            "if they are not the classes, make one folder for each class; else ignore this",
            about_classes=True,
        )


def _second_parts(named: Mapping[str, Tree], prefix: str) -> Iterator[LayoutProblem]:
    """Find names that differ as those of copied folders do, or in separators or a plural: "cat (1)", "red_fox"."""
    first: dict[str, str] = {}
    for name in natural(named):
        key = _plain(name)
        other = first.setdefault(key, name)
        if other == name:
            other = first.get(key.removesuffix("s"), name) if len(key) > 3 else name
        if other != name and name_key(other) != name_key(name):
            yield LayoutProblem(
                f"'{prefix}{other}/' and '{prefix}{name}/' are separate classes",
                "move the images into one folder if they are the same class",
                about_classes=True,
            )


def _plain(name: str) -> str:
    """Return what is left of a name without the marks of a copy, and with one kind of separator."""
    match = _COPY.fullmatch(name.strip())
    words = re.split(r"[\s_-]+", name_key(match[1] if match else name))
    return " ".join(word for word in words if word)


def _same_inside(named: Mapping[str, Tree], prefix: str) -> Iterator[LayoutProblem]:
    """Find berlin/cat/, berlin/dog/ and paris/cat/, paris/dog/. Numbered folders are sites inside class folders."""
    inner = same_inside(named)
    if inner and not is_numbered(inner):
        yield LayoutProblem(
            f"the classes are {some(named)}; all of these folders hold the same ones ({some(inner)})",
            f"if {some(inner)} are the classes, put them outside, as in {prefix}{inner[0]}/{next(iter(named))}/",
            about_classes=True,
        )


def same_inside(named: Mapping[str, Tree]) -> list[str]:
    """Return the names of the folders inside class folders if they are the same in all of them, and nothing else."""
    if len(named) < 2 or any(tree.images for tree in named.values()):
        return []
    inside = [frozenset(tree.with_images) for tree in named.values()]
    return natural(inside[0]) if len(inside[0]) > 1 and len(set(inside)) == 1 else []


def _inside_another(named: Mapping[str, Tree], prefix: str) -> Iterator[LayoutProblem]:
    """Find cat/dog/ beside dog/."""
    keys = {name_key(name): name for name in named}
    for name, tree in named.items():
        for inner in tree.with_images:
            other = keys.get(name_key(inner), name)
            if other != name:
                yield LayoutProblem(
                    f"the images in {prefix}{name}/{inner}/ are of the class '{name}', though '{other}' is one too",
                    f"move them into {prefix}{other}/ if they are of that class",
                    about_classes=True,
                )


def _masks(named: Mapping[str, Tree], prefix: str) -> Iterator[LayoutProblem]:
    """Find images that are named like masks of others beside them: "a.png" and "a_mask.png"."""
    count, example = 0, ""
    for name, tree in named.items():
        for before, folder in tree.each(f"{prefix}{name}/"):
            stems = {file.rpartition(".")[0] for file in folder.images}
            for stem in sorted(stems):
                if (match := _MASK.fullmatch(stem)) and match[1] in stems:
                    count += 1
                    example = example or f"{before}{stem}"
    if count >= MIN_MASKS:
        yield LayoutProblem(
            f"{plural(count, 'image')} named like masks of others are used as images, such as {example}",
            "move them out of the folder if they are no photos of the class",
            about_classes=True,
        )


def _places(named: Mapping[str, Tree], prefix: str) -> str:
    return some([f"{prefix}{name}/" for name in named])
