"""Find out whether images come in groups, by their names, folders and EXIF data, and by their features."""

from __future__ import annotations

from collections.abc import Sequence

from tlkit.context import Context
from tlkit.images.capture import Capture
from tlkit.images.duplicates import Pair, group_pairs
from tlkit.images.folder import ImageFolder
from tlkit.images.group_candidates import Candidate, group_candidates
from tlkit.images.grouping import Grouping
from tlkit.images.groups import group_pairs_of
from tlkit.linear.group_folds import compare_folds
from tlkit.store.disk_matrix import Vectors, part_of

CLOSE = 0.02  # a way of grouping that loses this much less accuracy than another is preferred, if it is more explicit


def find_grouping(
    folder: ImageFolder,
    features: Vectors,
    copies: Sequence[Pair],
    context: Context,
    asked: str | None,
    captures: Sequence[Capture] | None = None,
) -> Grouping | None:
    """Compare random folds with folds of whole groups.

    Args:
        folder: Readable images, with their groups if these are known.
        features: Features of the top of the frozen network, float32 [images, columns].
        copies: Pairs of indices that are copies of one image.
        context: Context of the run.
        asked: How ``folder`` is grouped; None: it is not, so look for groups.
        captures: What each image's EXIF data say; None: read them.

    Returns:
        The groups that were asked for, or those found of which new ones are harder by more than noise; None: there are
        none, or too few to compare.
    """
    with context.show.phase("Looking for groups", None):
        if asked is not None:
            return _compared(folder, Candidate(asked, folder.groups), features, copies, context, asked=True)
        found = [
            grouping
            for candidate in group_candidates(folder, context.workers, captures)
            if (grouping := _compared(folder, candidate, features, copies, context, asked=False)) and grouping.differs
        ]
    largest = max((_gap(each) for each in found), default=0.0)
    return next((each for each in found if _gap(each) >= largest - CLOSE), None)


def _gap(its: Grouping) -> float:
    return its.random_accuracy - its.grouped_accuracy


def _compared(
    folder: ImageFolder,
    candidate: Candidate,
    features: Vectors,
    copies: Sequence[Pair],
    context: Context,
    *,
    asked: bool,
) -> Grouping | None:
    count = len(folder.files)
    alike = group_pairs(copies, count)
    groups = group_pairs(group_pairs_of(candidate.groups), count)
    different = [index for index, first in enumerate(alike) if index == first]
    found = compare_folds(
        part_of(features, different),
        [folder.labels[index] for index in different],
        [groups[index] for index in different],
        context.seed,
    )
    if found is None:
        return None
    return Grouping(
        by=candidate.by,
        asked=asked,
        example=next(name for name in candidate.groups if name),
        groups=len({name for name in candidate.groups if name}),
        images=found.images,
        random_accuracy=found.random,
        grouped_accuracy=found.grouped,
        interval=found.interval,
        differs=found.differs,
    )
