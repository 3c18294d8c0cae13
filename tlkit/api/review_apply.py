"""Carries out what a reviewer decided: a new labels table, or files moved by a journal; and takes it back."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.api.review_state import CONFLICT, EXCLUDE, LABEL, Decision
from tlkit.csvtext import line
from tlkit.errors import TlkitError
from tlkit.files import file_hash, write_new
from tlkit.images.folder import ImageFolder
from tlkit.moves.batch import Mover, Wanted, take_back_all
from tlkit.moves.journal import MOVE, read_journal


@dataclass(frozen=True)
class Applied:
    """The result of applying decisions.

    Attributes:
        relabelled: Number of images with another class than before.
        excluded: Number of images left out.
        kept: Number of images as before.
        conflicts: Images on which people decided differently, which stay as they were.
        output: The labels table; None: files were moved.
        journals: What `tlkit.undo` needs, of files that were moved.
        stayed: (file, reason) of images that could not be moved.
    """

    relabelled: int
    excluded: int
    kept: int
    conflicts: tuple[str, ...]
    output: Path | None = None
    journals: tuple[Path, ...] = ()
    stayed: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "relabelled": self.relabelled,
            "excluded": self.excluded,
            "kept": self.kept,
            "conflicts": list(self.conflicts),
            "output": None if self.output is None else str(self.output),
            "journals": [str(each) for each in self.journals],
            "stayed": [{"file": file, "error": reason} for file, reason in self.stayed],
        }


def free_output(path: Path) -> Path:
    """Return a name that is not taken: ``labels.csv``, then ``labels-2.csv``."""
    names = (
        path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(1)
    )
    return next(each for each in names if not os.path.lexists(each))


def write_table(folder: ImageFolder, decisions: Mapping[str, Decision], output: Path) -> Applied:
    """Write a labels table of all images that are not excluded: file, label, and split and group if there are any.

    Args:
        folder: The images.
        decisions: What was decided, by file.
        output: The new file.

    Raises:
        TlkitError: It exists or cannot be written.
    """
    has_groups = any(folder.groups)
    header = ["file", "label", *(["split"] if folder.has_splits else []), *(["group"] if has_groups else [])]
    here = Path(os.path.abspath(output)).parent  # noqa: PTH100
    rows = [header]
    for index, label in _labels(folder, decisions):
        path = folder.paths[index]
        name = path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)
        row = [name, label]
        row += [folder.splits[index]] if folder.has_splits else []
        rows.append(row + ([folder.groups[index]] if has_groups else []))
    write_new(output, "".join(line(row) for row in rows))
    return _counted(folder, decisions, output=output)


def move_files(folder: ImageFolder, decisions: Mapping[str, Decision]) -> Applied:
    """Move images into the folders of their new classes, and excluded ones into ``NAME-excluded`` beside the images.

    Args:
        folder: The images, in class folders.
        decisions: What was decided, by file.

    Raises:
        TlkitError: A table names the labels, or a journal or folder cannot be written.
    """
    check_movable(folder)
    old = dict(zip(folder.files, folder.labels, strict=True))
    places = _class_folders(folder)
    new, out = [], []
    for index, file in enumerate(folder.files):
        its = decisions.get(file)
        if its is None or not its.counts:
            continue
        source = str(folder.paths[index])
        if its.what == EXCLUDE:
            out.append(Wanted(source, folder.classes[old[file]], None))
        elif its.label != folder.classes[old[file]]:
            new.append(Wanted(source, places[folder.splits[index], its.label], its.label))
    journals, stayed = [], []
    excluded = folder.root.with_name(f"{folder.root.name}-excluded")
    for into, wanted in ((folder.root, new), (excluded, out)):
        if not wanted:
            continue
        with Mover(into, MOVE, [each.source for each in wanted]) as mover:
            left = [each for each in wanted if not mover.is_placed(each.source)]
            stayed += [(went.source, went.error or "") for went in mover.send(left) if went.target is None]
            journals.append(mover.journal)
    return _counted(folder, decisions, journals=tuple(journals), stayed=tuple(stayed))


def take_back(applied: Applied, digest: str | None) -> list[tuple[str, str]]:
    """Take back what was applied: the table goes, moved files go back; return (file, reason) of what could not.

    Args:
        applied: What was done.
        digest: SHA-256 of the table when it was written; one that was changed since stays.
    """
    left: list[tuple[str, str]] = []
    if applied.output is not None and applied.output.exists():
        if file_hash(applied.output) != digest:
            return [(str(applied.output), "it was changed since")]
        applied.output.unlink()
    for journal in reversed(applied.journals):
        left += take_back_all(read_journal(journal), lambda _: None).left
    return left


def check_movable(folder: ImageFolder) -> None:
    """Refuse to move the files of a table.

    Raises:
        TlkitError: The classes are no folders.
    """
    if folder.table is not None:
        raise TlkitError("--move requires class folders, and a table names the labels", "leave out --move")


def _labels(folder: ImageFolder, decisions: Mapping[str, Decision]) -> Iterator[tuple[int, str]]:
    for index, file in enumerate(folder.files):
        its = decisions.get(file)
        if its is not None and its.what == EXCLUDE:
            continue
        yield index, its.label if its is not None and its.what == LABEL else folder.classes[folder.labels[index]]


def _class_folders(folder: ImageFolder) -> dict[tuple[str, str], str]:
    """Return the folder of each class in each split, relative to the root; new ones are named like the class."""
    depth = 2 if folder.has_splits else 1
    found: dict[tuple[str, str], str] = {}
    parents: dict[str, str] = {}
    for file, label, split in zip(folder.files, folder.labels, folder.splits, strict=True):
        parts = file.split("/")
        found.setdefault((split, folder.classes[label]), "/".join(parts[:depth]))
        parents.setdefault(split, "/".join(parts[: depth - 1]))
    for split, parent in parents.items():
        for name in folder.classes:
            found.setdefault((split, name), f"{parent}/{name}" if parent else name)
    return found


def _counted(
    folder: ImageFolder,
    decisions: Mapping[str, Decision],
    output: Path | None = None,
    journals: Sequence[Path] = (),
    stayed: Sequence[tuple[str, str]] = (),
) -> Applied:
    changed, excluded, conflicts = 0, 0, []
    for file, label in zip(folder.files, folder.labels, strict=True):
        its = decisions.get(file)
        if its is None:
            continue
        excluded += its.what == EXCLUDE
        changed += its.what == LABEL and its.label != folder.classes[label]
        if its.what == CONFLICT:
            conflicts.append(file)
    kept = len(folder.files) - changed - excluded
    return Applied(changed, excluded, kept, tuple(conflicts), output, tuple(journals), tuple(stayed))
