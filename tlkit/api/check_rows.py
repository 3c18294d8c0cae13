"""The rows in parts of ``tlkit check``, and what is concluded from those of all parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tlkit.api.check_findings import found_alone, found_by_bundle, found_by_probes
from tlkit.api.embed.parts import vector_from
from tlkit.api.parts import Parts
from tlkit.context import Context
from tlkit.images.capture import Capture
from tlkit.images.check import Checked
from tlkit.images.class_names import matched_names
from tlkit.images.facts import Facts
from tlkit.images.folder import Dropped, ImageFolder
from tlkit.images.group_spec import EXIF_CAMERA, EXIF_DATE
from tlkit.images.groups import described, without_groups
from tlkit.images.layout_faults import LayoutProblem
from tlkit.images.quality import Quality
from tlkit.images.unused import Unused
from tlkit.schema import Count, OneOf, Positive, Within, parsed

PROBABILITY = "<f4"
Texts = tuple[str, ...]
Grey = Annotated[int, Within(0, 255)]


@dataclass(frozen=True)
class FolderNote:
    """What is known of a folder besides its images; see `ImageFolder`."""

    root: str
    classes: Texts
    ignored: Texts
    empty_classes: Texts
    unused: tuple[Unused, ...]
    unreadable: tuple[tuple[str, str], ...]
    split_folders: tuple[tuple[str, str], ...]
    problems: tuple[LayoutProblem, ...]
    table: str | None
    given: str | None
    dropped: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True)
class FactsRow:
    """The facts of a file, see `Facts`; its fingerprint as hex."""

    content: str
    error: str | None
    format: str
    fits_suffix: bool
    mode: str
    width: Count
    height: Count
    fingerprint: str
    quality: tuple[Grey, Grey, Grey, Annotated[float, Within(0, 255)]] | None


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        file: Its path.
        error: Why it cannot be read.
        name: Its path below the folder.
        label: Index of its class.
        split: Its split.
        group: Its group.
        facts: The facts of the file.
        vector: Its features or probabilities, as text.
        day: When it was taken, by its EXIF data.
        camera: With what.
    """

    file: str
    error: str | None
    name: str
    label: Count
    split: Annotated[str, OneOf(("", "train", "val", "test"))]
    group: str
    facts: FactsRow
    vector: str | None
    day: str
    camera: str


@dataclass(frozen=True)
class Asked:
    """What was asked of a check.

    Attributes:
        by: "facts", "probes" or "bundle": how suspects are found.
        groups: How images are grouped; None: not said.
        seed: Random seed.
        backbone, weights, size, reading: What features depend on.
        taps: (name, width) of the blocks of a vector of features.
        digest: Of the bundle.
        classes: Of the bundle.
    """

    by: Annotated[str, OneOf(("facts", "probes", "bundle"))]
    groups: str | None
    seed: Count
    backbone: str = ""
    weights: str = ""
    size: Count = 0
    reading: Count = 0
    taps: tuple[tuple[str, Positive], ...] = ()
    digest: str = ""
    classes: Texts = ()


def row_of(folder: ImageFolder, place: int) -> dict[str, Any]:
    """Return what is known of an image before it is read, plain data."""
    return {
        "file": str(folder.paths[place]),
        "name": folder.files[place],
        "label": folder.labels[place],
        "split": folder.splits[place],
        "group": folder.groups[place] if folder.groups else "",
    }


def folder_note(folder: ImageFolder) -> dict[str, Any]:
    """Return what is known of a folder besides its images, plain data."""
    note = FolderNote(
        str(folder.root),
        folder.classes,
        folder.ignored,
        folder.empty_classes,
        folder.unused,
        folder.unreadable,
        folder.split_folders,
        folder.problems,
        None if folder.table is None else str(folder.table),
        None if folder.given is None else str(folder.given),
        tuple((each.file, each.reason, each.label, each.split) for each in folder.dropped),
    )
    return asdict(note)


def merged_check(parts: Parts, context: Context) -> Checked:
    """Conclude from the rows of all parts what ``tlkit check`` would have.

    Args:
        parts: The parts.
        context: Context of the merge; its seed is that of the parts.

    Raises:
        TlkitError: A part is damaged.
    """
    try:
        asked: Asked = parsed(Asked, parts.first.asked, "asked")
        note: FolderNote = parsed(FolderNote, parts.first.note["folder"], "folder")
        with context.show.phase("Merging", parts.first.images) as advance:
            rows, vectors = [], []
            columns = sum(width for _, width in asked.taps) if asked.by == "probes" else len(asked.classes)
            for data in parts.rows():
                row = parsed(Row, data, "row")
                rows.append(replace(row, vector=None))
                kept = None if row.vector is None else vector_from(row.vector, columns, _dtype(asked))
                vectors.append(kept)
                advance(1)
        folder = _folder(note, rows)
        facts = [_facts(row.facts) for row in rows]
        path, name = Path(str(parts.first.note.get("model"))), str(parts.first.note.get("name"))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise parts.damaged() from error
    captures = [Capture(row.day, row.camera) for row in rows]
    folder = _grouped(folder, asked, captures, context)
    context = replace(context, seed=asked.seed)
    if asked.by == "facts":
        return found_alone(folder, facts, context)
    if asked.by == "bundle":
        matches = matched_names(folder.classes, asked.classes)
        predicted = {
            index: vector
            for index, vector in enumerate(vectors)
            if vector is not None and folder.classes[folder.labels[index]] in matches
        }
        return found_by_bundle(folder, facts, predicted, matches, asked.classes, path, context)
    features = _features(rows, facts, vectors, asked)
    known = captures if asked.groups is None else None
    return found_by_probes(folder, facts, features, name, context, asked.groups, known)


def _dtype(asked: Asked) -> str:
    from tlkit.store.features import DTYPE

    return DTYPE if asked.by == "probes" else PROBABILITY


def _folder(note: FolderNote, rows: Sequence[Row]) -> ImageFolder:
    labels = tuple(row.label for row in rows)
    if max(labels, default=0) >= len(note.classes):
        raise ValueError("there is no such class")
    groups = tuple(row.group for row in rows)
    return ImageFolder(
        root=Path(note.root),
        classes=note.classes,
        files=tuple(row.name for row in rows),
        labels=labels,
        splits=tuple(row.split for row in rows),
        ignored=note.ignored,
        empty_classes=note.empty_classes,
        unused=note.unused,
        unreadable=note.unreadable,
        split_folders=note.split_folders,
        problems=note.problems,
        groups=groups if any(groups) else (),
        table=None if note.table is None else Path(note.table),
        given=None if note.given is None else Path(note.given),
        dropped=tuple(Dropped(*each) for each in note.dropped),
    )


def _facts(row: FactsRow) -> Facts:
    quality = None if row.quality is None else Quality(*row.quality)
    return Facts(**{**asdict(row), "fingerprint": bytes.fromhex(row.fingerprint), "quality": quality})


def _grouped(folder: ImageFolder, asked: Asked, captures: Sequence[Capture], context: Context) -> ImageFolder:
    """Return the folder with the groups that EXIF data give, if these were asked for."""
    if asked.groups in (EXIF_DATE, EXIF_CAMERA):
        groups = tuple(each.day if asked.groups == EXIF_DATE else each.camera for each in captures)
        if not any(groups):
            raise without_groups(folder, asked.groups)
        folder = replace(folder, groups=groups)
    if asked.groups is not None:
        context.show.note(described(folder, asked.groups))
    return folder


def _features(rows: Sequence[Row], facts: Sequence[Facts], vectors: Sequence[Any], asked: Asked) -> Any:
    from tlkit.backbones.features import NOT_FINITE, Features

    kept = [index for index, vector in enumerate(vectors) if vector is not None]
    width = sum(each for _, each in asked.taps)
    matrix = np.empty((len(kept), width), dtype=np.float32)
    for number, index in enumerate(kept):
        matrix[number] = vectors[index]
    there = set(kept)
    return Features(
        matrix=matrix,
        rows=tuple(kept),
        contents=tuple(fact.content if index in there else "" for index, fact in enumerate(facts)),
        prints=tuple(fact.fingerprint if index in there else b"" for index, fact in enumerate(facts)),
        errors={index: row.error or NOT_FINITE for index, row in enumerate(rows) if index not in there},
        taps=asked.taps,
        reused=0,
    )
