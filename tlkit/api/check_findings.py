"""What ``tlkit check`` concludes, once every file has been read: from facts, features and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkit.api.train.grouping import find_grouping
from tlkit.context import Context
from tlkit.images.check import Checked, assess
from tlkit.images.checked import Seen
from tlkit.images.duplicates import Pair, copy_pairs
from tlkit.images.facts import Facts
from tlkit.images.folder import ImageFolder
from tlkit.images.group_spec import TABLE
from tlkit.images.groups import joined_groups
from tlkit.linear.label_issues import LabelIssue, find_label_issues, probe_probabilities
from tlkit.words import some

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlkit.backbones.features import Features
    from tlkit.images.capture import Capture


def found_alone(folder: ImageFolder, facts: Sequence[Facts], context: Context) -> Checked:
    """Assess a data set by the facts of its files alone.

    Args:
        folder: The images.
        facts: The facts of each file, in order.
        context: Context of the check.
    """
    with context.show.phase("Looking for copies", None):
        return assess(folder, facts, _copies(facts))


def _copies(facts: Sequence[Facts]) -> list[Pair]:
    return copy_pairs([fact.content for fact in facts], [fact.fingerprint for fact in facts])


def found_by_probes(
    folder: ImageFolder,
    facts: Sequence[Facts],
    features: Features,
    backbone: str,
    context: Context,
    by: str | None,
    captures: Sequence[Capture] | None = None,
) -> Checked:
    """Find suspects by cross-validated probes on frozen features.

    With the features of the top, also find out whether images come in groups.

    Args:
        folder: The images.
        facts: The facts of each file, in order.
        features: Features of the images: some stages and the top.
        backbone: Name of the network.
        context: Context of the check.
        by: How the folder is grouped; None: it is not.
        captures: What each file's EXIF data say, in order; None: read them.
    """
    from tlkit.backbones.copies import confirmed_copies
    from tlkit.backbones.extractor import TOP, rows_of

    rows = features.rows
    with context.show.phase("Looking for copies", None):
        copies = confirmed_copies(features)
        found = assess(folder, facts, [(rows[one], rows[two]) for one, two in copies])
    labels, present = np.unique([folder.labels[row] for row in rows], return_inverse=True)
    readable = folder.keep(list(rows))
    probabilities = None
    if len(labels) > 1:
        by = by or (TABLE if any(readable.groups) else None)
        top = rows_of(features.matrix, features.taps, [TOP])
        kept = None if captures is None else [captures[row] for row in rows]
        found.groups = find_grouping(readable, top, copies, context, by, kept)
        groups = joined_groups(readable.groups, copies, len(rows))
        blocks = [width for _, width in features.taps]
        probabilities = probe_probabilities(
            features.matrix, present.tolist(), groups, context.seed, blocks=blocks, progress=context.show
        )
    what = "groups" if any(readable.groups) else "different images"
    if probabilities is None:
        found.suspects_by = f"not checked: two classes need at least two {what} each"
        return found
    names = [folder.classes[label] for label in labels]
    found.seen = Seen([folder.files[row] for row in rows], names, probabilities)
    untested = np.isnan(probabilities[:, 0])
    found.suspects_by = f"cross-validated probes on the frozen features of {backbone}"
    found.not_searched = [name for number, name in enumerate(names) if bool(np.all(untested[present == number]))]
    if found.not_searched:
        found.suspects_by += f"; not in {some(found.not_searched)}: fewer than two {what}"
    _name_suspects(
        found, find_label_issues(probabilities, present.tolist()), [folder.files[row] for row in rows], names
    )
    return found


def found_by_bundle(
    folder: ImageFolder,
    facts: Sequence[Facts],
    predicted: Mapping[int, NDArray[np.float32]],
    matches: Mapping[str, str],
    classes: Sequence[str],
    path: Path,
    context: Context,
) -> Checked:
    """Find suspects by a bundle's predictions.

    Args:
        folder: The images.
        facts: The facts of each file, in order.
        predicted: Probabilities, float32 [classes], by index, of images of classes that the bundle has.
        matches: The bundle's name of each class of the folder that it has.
        classes: Class names of the bundle.
        path: The bundle.
        context: Context of the check.
    """
    found = found_alone(folder, facts, context)
    number = {name: index for index, name in enumerate(classes)}
    order = sorted(predicted)
    labels = [number[matches[folder.classes[folder.labels[index]]]] for index in order]
    found.suspects_by = f"predictions of {path}"
    if order:
        found.seen = Seen(
            [folder.files[index] for index in order], classes, np.stack([predicted[index] for index in order])
        )
        worst = find_label_issues(found.seen.probabilities, labels)
        _name_suspects(found, worst, [folder.files[index] for index in order], classes)
    return found


def _name_suspects(found: Checked, suspects: list[LabelIssue], files: Sequence[str], classes: Sequence[str]) -> None:
    """Add suspects to the result, except blank images and those reported as copies in another class."""
    reported = {file for group in found.conflicts for file in group} | set(found.blank)
    found.suspects = [
        (files[each.index], classes[each.label], classes[each.looks_like], each.margin)
        for each in suspects
        if files[each.index] not in reported
    ]
