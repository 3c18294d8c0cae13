"""Draw a seeded, stratified split that keeps copies of one image together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tlkit.errors import TlkitError
from tlkit.images.folder import TRAIN, VAL


def stratified_split(
    labels: Sequence[int], fraction: float, seed: int, groups: Sequence[int] | None = None
) -> list[str]:
    """Assign each image to "train" or "val".

    In every class, whole groups are drawn in random order until the class has ``fraction`` of its images in "val": at
    least one image, and never all of them. A class with a single group stays in "train".

    Args:
        labels: Class index of each image, at least two images a class.
        fraction: Share of each class that is held out, 0 < fraction < 1.
        seed: Random seed.
        groups: Group number of each image. A group (copies of one photo) is never divided; one with several classes
            goes to "train". None: each image is its own group.

    Returns:
        One of "train", "val" for each image.

    Raises:
        TlkitError: ``fraction`` is not between 0 and 1.
    """
    check_fraction(fraction)
    group_of = list(range(len(labels))) if groups is None else list(groups)
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(group_of):
        members[group].append(index)
    by_class: dict[int, list[int]] = defaultdict(list)
    for group, indices in members.items():
        if len({labels[i] for i in indices}) == 1:
            by_class[labels[indices[0]]].append(group)

    rng = np.random.default_rng(seed)
    splits = [TRAIN] * len(labels)
    size = np.bincount(np.asarray(labels, dtype=np.int64))
    for label in sorted(by_class):
        order = [by_class[label][i] for i in rng.permutation(len(by_class[label]))]
        wanted = min(max(1, round(fraction * int(size[label]))), int(size[label]) - 1)
        taken = 0
        for group in order:
            count = len(members[group])
            if taken + count > wanted:
                continue
            for index in members[group]:
                splits[index] = VAL
            taken += count
        if order and not taken:  # every group is larger than needed
            smallest = min(order, key=lambda group: len(members[group]))
            if len(members[smallest]) < int(size[label]):
                for index in members[smallest]:
                    splits[index] = VAL
    return splits


def check_fraction(fraction: float) -> None:
    """Check that a share leaves images on both sides.

    Raises:
        TlkitError: The share is not above 0 and below 1.
    """
    if not 0 < fraction < 1:
        raise TlkitError(f"--val-split must be above 0 and below 1, not {fraction:g}")
