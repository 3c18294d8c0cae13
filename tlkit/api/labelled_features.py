"""Features of labelled images and of unlabelled ones, from one network, with the copies among them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.api.places import places_of
from tlkit.api.train.dataset import stored_features
from tlkit.backbones.copies import confirmed_copies
from tlkit.backbones.extractor import TOP, Extractor, rows_of, widths_of
from tlkit.backbones.features import Features
from tlkit.bundle.backbone import bundle_extractor
from tlkit.bundle.kept import read_kept
from tlkit.bundle.load import Bundle
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.duplicates import group_pairs
from tlkit.images.folder import ImageFolder
from tlkit.images.groups import joined_groups
from tlkit.images.labelled import labelled_images
from tlkit.linear.acquisition import compact
from tlkit.linear.classifier import ood_taps
from tlkit.store.bound import refuse_cache_among
from tlkit.store.disk_matrix import in_memory
from tlkit.words import plural


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled images.

    Attributes:
        features: Their features.
        labels: Class index of each image.
        classes: Class names.
        groups: Name of the group of each image, "" for none; may be empty.
    """

    features: Features
    labels: Sequence[int]
    classes: tuple[str, ...]
    groups: Sequence[str]


@dataclass(frozen=True, eq=False)
class Together:
    """Labelled images, and after them unlabelled ones.

    Attributes:
        rows: What the head sees of each image, in few columns: `tlkit.linear.acquisition.compact`.
        shown: Features that tell unknown images, float32 [n, columns].
        labels: Class index of each labelled image, int64 [labelled].
        groups: Group number of each labelled image; copies share one.
        classes: Class names.
        pool: Rows of unlabelled images that may be chosen: of copies only one, and none that has a label already.
        files: File of each unlabelled image, in the order of the rows after the labelled ones.
        known: Number of unlabelled images that have a label already, or are copies of one that has.
        skipped: (file, reason) of every unlabelled image that could not be read.
    """

    rows: NDArray[np.float32]
    shown: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: Sequence[int]
    classes: tuple[str, ...]
    pool: list[int]
    files: tuple[str, ...]
    known: int
    skipped: tuple[tuple[str, str], ...]


def put_together(
    bundle: Bundle, labelled: str | os.PathLike[str] | None, paths: Sequence[Path], engine: str, context: Context
) -> Together:
    """Compute or read the features of labelled and unlabelled images, and find the copies among them.

    Args:
        bundle: The bundle, whose network computes the features.
        labelled: Labelled images; None: those whose features the bundle keeps.
        paths: Unlabelled image files.
        engine: "auto", "litert" or "keras".
        context: Context of the command.

    Raises:
        TlkitError: The bundle keeps no features and none are given, or no image can be used.
    """
    kept = _kept(bundle) if labelled is None else None  # before anything is computed
    extractor, head_taps = bundle_extractor(bundle, engine=engine, progress=context.show)
    shown = ood_taps(extractor.taps, head_taps)
    needed = {*head_taps, *shown, TOP}
    taps = tuple(tap for tap in extractor.taps if tap[0] in needed)
    names = [name for name, _ in taps]
    if kept is not None and kept.features.taps != taps:
        raise TlkitError(f"the features that {bundle.path} keeps are not of its network", "train it again")
    its = kept or _given(labelled_images(str(labelled)), names, extractor, context)
    found = stored_features(paths, extractor, context, taps=names)
    skipped = tuple((str(paths[index]), reason) for index, reason in found.errors.items())
    if not found.rows:
        raise TlkitError(f"no readable image among {plural(len(paths), 'file')}", f"{skipped[0][0]}: {skipped[0][1]}")
    every, count = _joined(its.features, found), len(its.labels)
    with context.show.phase("Looking for copies", None):
        copies = confirmed_copies(every)
    pool, known = _different(group_pairs(copies, len(every.rows)), count)
    return Together(
        rows=compact(in_memory(rows_of(every.matrix, taps, head_taps)), widths_of(taps, head_taps)),
        shown=in_memory(rows_of(every.matrix, taps, shown)),
        labels=np.asarray(its.labels, dtype=np.int64),
        groups=joined_groups(its.groups, [pair for pair in copies if max(pair) < count], count),
        classes=its.classes,
        pool=pool,
        files=tuple(str(paths[row]) for row in found.rows),
        known=known,
        skipped=skipped,
    )


def _kept(bundle: Bundle) -> Labelled:
    kept = read_kept(bundle, "suggest without --labelled")
    matrix, every = kept.matrix.astype(np.float32), tuple(range(len(kept)))
    features = Features(matrix, every, kept.contents, kept.prints, {}, kept.taps, 0)
    return Labelled(features, kept.labels, bundle.classes, kept.groups)


def _given(folder: ImageFolder, taps: Sequence[str], extractor: Extractor, context: Context) -> Labelled:
    refuse_cache_among(places_of(folder).within)
    features = stored_features(folder.paths, extractor, context, taps=taps)
    if not features.rows:
        raise TlkitError(f"no readable image in {folder.source}", "give images with labels")
    used = folder.keep(list(features.rows))
    present = sorted(set(used.labels))
    return Labelled(
        features,
        [present.index(label) for label in used.labels],
        tuple(used.classes[label] for label in present),
        used.groups,
    )


def _joined(one: Features, two: Features) -> Features:
    """Return the features of the readable images of two lists one after the other."""
    parts = (one, two)
    return replace(
        one,
        matrix=np.concatenate([in_memory(each.matrix) for each in parts]),
        rows=tuple(range(len(one.rows) + len(two.rows))),
        contents=tuple(each.contents[row] for each in parts for row in each.rows),
        prints=tuple(each.prints[row] for each in parts for row in each.rows),
        errors={},
    )


def _different(groups: Sequence[int], labelled: int) -> tuple[list[int], int]:
    """Return the rows that may be chosen, one of each group of copies, and the number of those with a label already."""
    taken = set(groups[:labelled])
    first = {group: row for row, group in reversed(list(enumerate(groups)))}
    pool = [row for row in range(labelled, len(groups)) if first[groups[row]] == row]
    return pool, sum(group in taken for group in groups[labelled:])
