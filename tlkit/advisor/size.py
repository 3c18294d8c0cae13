"""How large a data set is, for the purposes of transfer learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tlkit.images.folder import IMBALANCE

TINY, SMALL, MEDIUM, LARGE = "tiny", "small", "medium", "large"
LEVELS = (TINY, SMALL, MEDIUM, LARGE)
# the least median number of images a class, and the least number of images in all, of each level
BOUNDS = {SMALL: (10, 40), MEDIUM: (100, 1000), LARGE: (500, 5000)}


@dataclass(frozen=True)
class Size:
    """How large a data set is.

    Attributes:
        level: One of `LEVELS`.
        why: The numbers behind it, one sentence.
        median: Training images of the median class.
    """

    level: str
    why: str
    median: float

    @property
    def is_large(self) -> bool:
        """Whether the two-by-two rule of transfer learning calls it large."""
        return self.level in (MEDIUM, LARGE)


def judge_size(per_class: Sequence[int]) -> Size:
    """The level of a data set with so many training images in each class.

    What counts is the median class as much as the total: a head has as many weights to learn for each class. Plain
    bounds for "small" and "large" are not in the lecture notes that the rule comes from. Fine-tuning is reported to win
    in most cases with thousands of images (Kornblith et al. 2019, "Do Better ImageNet Models Transfer Better?"), so
    a thousand is the bound of "medium". For Kolesnikov et al. 2020, "Big Transfer", below 20,000 all is small.

    Args:
        per_class: Training images of each class, at least one.
    """
    total, middle, least, most = sum(per_class), median(per_class), min(per_class), max(per_class)
    level = TINY
    for name, (each, together) in BOUNDS.items():
        if middle >= each and total >= together:
            level = name
    why = f"{total:,} training images, {middle:g} in the median class"
    if most > IMBALANCE * least:
        times = most / least
        why += f", and the largest class has {times:.{0 if times >= 10 else 1}f} times the smallest one's"
    elif least < most:
        why += f" ({least:,} to {most:,})"
    return Size(level, why, float(middle))
