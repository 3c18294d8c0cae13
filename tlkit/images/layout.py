"""Find problems with the layout of an image folder, and advise how to fix them."""

from __future__ import annotations

from tlkit.images.class_names import name_key
from tlkit.images.folder import TRAIN, ImageFolder
from tlkit.images.layout_faults import LayoutProblem
from tlkit.images.unused import BESIDE, FLAT, LINK, MASKS, OTHER_FILES, OUTSIDE, unused_lines
from tlkit.words import plural, some

_ADVICE = {
    FLAT: "put its images into class folders, or ignore this: without labels they are of no use here",
    OUTSIDE: "move them into a class folder, or remove them",
    BESIDE: "move the images you need into train/, val/ or test/",
    MASKS: "nothing has to be done if they are no photos of the class",
    LINK: "remove the link",
    OTHER_FILES: "convert images to JPEG or PNG, and remove what is no image",
}


def layout_problems(folder: ImageFolder) -> list[LayoutProblem]:
    """Return all layout problems, worst first; no file is opened."""
    found = [*folder.problems, *_split_classes(folder), *_unused(folder), *_letters(folder)]
    if len(folder.classes) < 2 and not found:
        count = plural(len(folder.classes), "class", "classes")
        found.append(LayoutProblem(f"only {count}", "a classifier needs at least two class folders"))
    return found


def layout_notes(folder: ImageFolder) -> list[str]:
    """Return, one sentence each, what a user who trains on a folder should know about how it was understood."""
    renamed = [f"{name}/ as {split}" for split, name in folder.split_folders if name.lower() != split]
    notes = [f"split folders: {', '.join(renamed)}"] if renamed else []
    notes += [problem.message for problem in folder.problems]
    return notes + passed_over(folder)


def passed_over(folder: ImageFolder) -> list[str]:
    """Return, one sentence each, which files and class folders are not used."""
    lines = unused_lines(folder.unused)
    if folder.empty_classes:
        lines.append(f"no images in: {some([f'{name}/' for name in folder.empty_classes])}")
    return lines


def class_doubts(folder: ImageFolder) -> list[str]:
    """Return, one sentence each, why the classes may not be those that the user means."""
    return [problem.message for problem in (*folder.problems, *_letters(folder)) if problem.about_classes]


def _split_classes(folder: ImageFolder) -> list[LayoutProblem]:
    found = []
    train = folder.counts(TRAIN)
    for split in sorted(set(folder.splits) - {"", TRAIN}):
        counts = folder.counts(split)
        unknown = [name for name, count in counts.items() if count and not train[name]]
        missing = [name for name, count in counts.items() if train[name] and not count]
        if unknown:
            message = f"{split}/ has classes that train/ does not have: {some(unknown)}"
            found.append(LayoutProblem(message, "add them to train/"))
        if missing:
            found.append(LayoutProblem(f"{split}/ lacks classes: {some(missing)}", f"add images of them to {split}/"))
    return found


def _unused(folder: ImageFolder) -> list[LayoutProblem]:
    found = []
    for why, advice in _ADVICE.items():
        lines = unused_lines([each for each in folder.unused if each.why == why and not each.is_quiet])
        found += [LayoutProblem(line, advice) for line in lines]
    if folder.empty_classes:
        advice = "add images to these folders, or remove them"
        found.append(LayoutProblem(f"no images in: {some(folder.empty_classes)}", advice))
    return found


def _letters(folder: ImageFolder) -> list[LayoutProblem]:
    """Find letters of which both cases are classes. Longer names that differ only in case are one class."""
    seen: dict[str, str] = {}
    pairs = []
    for name in folder.classes:
        other = seen.setdefault(name_key(name), name)
        if other != name:
            pairs.append(f"'{other}' and '{name}'")
    if not pairs:
        return []
    message = f"letters of which both cases are separate classes: {some(pairs)}"
    return [LayoutProblem(message, "merge the folders if case does not matter", about_classes=True)]
