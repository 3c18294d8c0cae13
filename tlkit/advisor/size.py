"""Judge how large a dataset is for transfer learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tlkit.images.folder import IMBALANCE

TINY, SMALL, MEDIUM, LARGE = "tiny", "small", "medium", "large"
LEVELS = (TINY, SMALL, MEDIUM, LARGE)
# minimum images of the median class and minimum images in total, by level
BOUNDS = {SMALL: (10, 40), MEDIUM: (100, 1000), LARGE: (500, 5000)}


@dataclass(frozen=True)
class Size:
    """Size of a dataset.

    Attributes:
        level: One of `LEVELS`.
        why: The numbers behind the level, one sentence.
        median: Training images of the median class.
    """

    level: str
    why: str
    median: float

    @property
    def is_large(self) -> bool:
        """Whether the two-by-two rule calls the dataset large."""
        return self.level in (MEDIUM, LARGE)


def judge_size(per_class: Sequence[int]) -> Size:
    """Judge the size of a dataset from the number of training images of each class.

    Both the median class and the total count, because a head has the same number of weights for each class. The lecture
    notes behind the two-by-two rule do not define "small" and "large". Fine-tuning wins in most cases with thousands of
    images (Kornblith et al. 2019, "Do Better ImageNet Models Transfer Better?"), so "medium" starts at a thousand.
    Kolesnikov et al. 2020, "Big Transfer", call everything below 20,000 small.

    Args:
        per_class: Number of training images of each class; at least one class.
    """
    total, middle, smallest, largest = sum(per_class), median(per_class), min(per_class), max(per_class)
    level = TINY
    for name, (each, together) in BOUNDS.items():
        if middle >= each and total >= together:
            level = name
    why = f"{total:,} training images, {middle:g} in the median class"
    if largest > IMBALANCE * smallest:
        times = largest / smallest
        why += f"; the largest class has {times:.{0 if times >= 10 else 1}f} times as many as the smallest"
    elif smallest < largest:
        why += f" ({smallest:,} to {largest:,})"
    return Size(level, why, float(middle))
