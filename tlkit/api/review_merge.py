"""Another person's work in a review: a file of decisions, or a labels table that came of one."""

from __future__ import annotations

import os
from pathlib import Path

from tlkit.api.review_state import CONFLICT, EXCLUDE, LABEL, Decision, Decisions, latest, replayed
from tlkit.api.table_options import TableOptions
from tlkit.errors import TlkitError
from tlkit.files import file_hash
from tlkit.images.folder import ImageFolder
from tlkit.images.labelled import labelled_images
from tlkit.images.table.text import names_table
from tlkit.progress import Progress
from tlkit.words import plural

HERE = "here"  # who decided in this review


def merge_into(made: Decisions, other: Path, folder: ImageFolder, table: TableOptions, show: Progress) -> None:
    """Add another person's decisions. Where both decided and differ, the image is in conflict until decided again.

    A file that was merged before is passed over.

    Args:
        made: The decisions so far.
        other: A file of decisions, or a labels table.
        folder: The images.
        table: How tables are to be understood.
        show: Progress reporter.

    Raises:
        TlkitError: The file cannot be read, or says nothing of these images.
    """
    if not os.path.isfile(other):  # noqa: PTH113
        raise TlkitError(f"no such file: {other}")
    name, digest = other.name, file_hash(other)
    if digest in made.merged:
        show.note(f"{name} was merged before")
        return
    is_table = names_table(other) and other.suffix.lower() != ".jsonl"
    theirs = _of_table(other, folder, table) if is_table else _of_decisions(other, folder)
    now, added, conflicts = made.now, 0, 0
    for file, its in theirs.items():
        mine = now.get(file)
        if mine is None or not (mine.counts or mine.what == CONFLICT):
            made.add(Decision(file, its.what, its.label, by=name))
            added += 1
        elif mine.what == CONFLICT:
            made.add(Decision(file, CONFLICT, said=(*mine.said, (name, its.short))))
        elif mine.short != its.short:
            made.add(Decision(file, CONFLICT, said=((mine.by or HERE, mine.short), (name, its.short))))
            conflicts += 1
            show.note(f"conflict: {file}: {mine.by or HERE} says {mine.short}, {name} says {its.short}")
    made.note_merged(digest)
    show.note(f"{name}: {plural(added, 'decision')} merged, {plural(conflicts, 'conflict')}")


def _of_decisions(other: Path, folder: ImageFolder) -> dict[str, Decision]:
    known, classes = set(folder.files), set(folder.classes)
    found = {file: its for file, its in latest(replayed(other)[1]).items() if its.counts}
    ours = {file: its for file, its in found.items() if file in known and (its.what == EXCLUDE or its.label in classes)}
    if found and not ours:
        raise TlkitError(f"{other} says nothing of these images")
    return ours


def _of_table(other: Path, folder: ImageFolder, table: TableOptions) -> dict[str, Decision]:
    """Return where a table differs from the labels; an image that it does not name was excluded."""
    read = labelled_images(other, table.columns, min_classes=0)
    said = {os.path.realpath(path): read.classes[label] for path, label in zip(read.paths, read.labels, strict=True)}
    found: dict[str, Decision] = {}
    hits = 0
    for file, path, label in zip(folder.files, folder.paths, folder.labels, strict=True):
        its = said.get(os.path.realpath(path))
        hits += its is not None
        if its is None:
            found[file] = Decision(file, EXCLUDE)
        elif its != folder.classes[label] and its in folder.classes:
            found[file] = Decision(file, LABEL, its)
    if not hits:
        raise TlkitError(
            f"{other} names none of these images", "give a table that tlkit review wrote of the same images"
        )
    return found
