"""Draw a seeded, stratified split that keeps groups whole: copies of an image, images of a site."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from tlkit.errors import TlkitError
from tlkit.images.folder import TRAIN, VAL

FEW = 0.05  # share of images in groups of several classes, up to which they are taken for copies with wrong labels
DRAWS = 20  # random draws of which the best is kept,
MOST_STEPS = 20_000  # with at most so many groups looked at


def stratified_split(
    labels: Sequence[int], fraction: float, seed: int, groups: Sequence[int] | None = None
) -> list[str]:
    """Assign each image to "train" or "val".

    In every class, whole groups are drawn in random order until the class has about ``fraction`` of its images in
    "val": at least one image, and never all of them. A class with a single group stays in "train".

    Groups with several classes go to "train" if they hold at most `FEW` of all images: then they are copies with
    contradicting labels. Otherwise, as where each site has images of all classes, all groups are drawn together, so
    that every class gets about its share.

    Args:
        labels: Class index of each image, at least two images a class.
        fraction: Share of each class that is held out, 0 < fraction < 1.
        seed: Random seed.
        groups: Group number of each image. A group is never divided. None: each image is its own group.

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
    kinds = {group: Counter(labels[i] for i in indices) for group, indices in members.items()}
    size = Counter(labels)
    wanted = {label: min(max(1, round(fraction * count)), count - 1) for label, count in size.items()}
    rng = np.random.default_rng(seed)
    shared = sum(len(members[group]) for group, its in kinds.items() if len(its) > 1)
    if shared > FEW * len(labels):
        chosen = _draw_together(kinds, wanted, size, rng)
    else:
        chosen = _draw_by_class({group: its for group, its in kinds.items() if len(its) == 1}, wanted, size, rng)
    splits = [TRAIN] * len(labels)
    for group in chosen:
        for index in members[group]:
            splits[index] = VAL
    return splits


def _draw_by_class(
    kinds: dict[int, Counter[int]], wanted: dict[int, int], size: dict[int, int], rng: np.random.Generator
) -> list[int]:
    """Return the groups to hold out, from groups of one class each."""
    by_class: dict[int, list[int]] = defaultdict(list)
    for group, its in kinds.items():
        by_class[next(iter(its))].append(group)
    chosen: list[int] = []
    for label in sorted(by_class):
        order = [by_class[label][i] for i in rng.permutation(len(by_class[label]))]
        taken = 0
        for group in order:
            count = kinds[group][label]
            closer = abs(taken + count - wanted[label]) < abs(taken - wanted[label])
            if closer and taken + count < size[label]:
                chosen.append(group)
                taken += count
        if not taken:  # every group is larger than needed
            smallest = min(order, key=lambda group: kinds[group][label])
            if kinds[smallest][label] < size[label]:
                chosen.append(smallest)
    return chosen


def _draw_together(
    kinds: dict[int, Counter[int]], wanted: dict[int, int], size: dict[int, int], rng: np.random.Generator
) -> list[int]:
    """Return the groups to hold out, from groups of several classes: the best of some random draws.

    In each, the groups are taken in random order if that brings the classes closer to their shares.
    """
    groups = list(kinds)
    best: list[int] = []
    lowest = float("inf")
    for _ in range(max(1, min(DRAWS, MOST_STEPS // len(groups)))):
        drawn = _Draw(kinds, wanted, size)
        order = [groups[i] for i in rng.permutation(len(groups))]
        for group in order:
            if drawn.change(group) < 0:
                drawn.take(group)
        for label in sorted(wanted):
            # every group with it is too large to bring the shares closer
            left = [group for group in order if label in kinds[group] and drawn.is_possible(group)]
            if not drawn.taken[label] and left:
                drawn.take(min(left, key=drawn.change))
        if (distance := drawn.distance()) < lowest:
            best, lowest = drawn.chosen, distance
    return best


class _Draw:
    """Groups held out so far.

    Args:
        kinds: Number of images of each class in each group.
        wanted: Number of images of each class to hold out.
        size: Number of images of each class.
    """

    def __init__(self, kinds: dict[int, Counter[int]], wanted: dict[int, int], size: dict[int, int]) -> None:
        self._kinds, self._wanted, self._size = kinds, wanted, size
        self.taken: Counter[int] = Counter()
        self.chosen: list[int] = []

    def is_possible(self, group: int) -> bool:
        """Whether training images of every class would be left."""
        return all(self.taken[label] + count < self._size[label] for label, count in self._kinds[group].items())

    def change(self, group: int) -> float:
        """Change of the distance from the shares, if this group is taken; infinite if it cannot be."""
        if not self.is_possible(group):
            return float("inf")
        its = self._kinds[group].items()
        return sum(self._off(label, count) - self._off(label) for label, count in its)

    def take(self, group: int) -> None:
        """Hold a group out."""
        self.taken.update(self._kinds[group])
        self.chosen.append(group)

    def distance(self) -> float:
        """Sum over classes of the squared relative distance from the share; a class without images counts as far."""
        return sum(self._off(label) + (not self.taken[label]) for label in self._wanted)

    def _off(self, label: int, more: int = 0) -> float:
        wanted = self._wanted[label]
        return ((self.taken[label] + more - wanted) / max(1, wanted)) ** 2


def check_fraction(fraction: float) -> None:
    """Check that a share leaves images on both sides.

    Raises:
        TlkitError: The share is not above 0 and below 1.
    """
    if not 0 < fraction < 1:
        raise TlkitError(f"--val-split must be above 0 and below 1, not {fraction:g}")
