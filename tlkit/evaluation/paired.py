"""Two classifiers on the same images: their difference, how sure it is, and how many images would show it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS, MEANS = 20_000, 2000  # of the bootstrap of counts, and of means, which takes longer
LEVEL = 0.05  # a difference with a smaller p-value counts
POWER = 0.8  # chance to see the difference, with as many images as needed


@dataclass(frozen=True)
class Paired:
    """The difference between two classifiers, A and B, on the same images.

    Attributes:
        both: Number of images that both get right.
        only_a: Number of images that only A gets right.
        only_b: Number of images that only B gets right.
        neither: Number of images that both get wrong.
        difference: Accuracy of B minus accuracy of A, -1..1.
        ci95: 95% interval of the difference; it leaves out 0 if and only if `p_value` is below `LEVEL`.
        p_value: Of McNemar's exact test, two-sided.
        needed: Number of images that would show the difference with a chance of `POWER`, if it is as observed; None if
            there is no difference, or enough images.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    ci95: tuple[float, float]
    p_value: float
    needed: int | None

    @property
    def images(self) -> int:
        """Number of images."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def better(self) -> str | None:
        """Which one is better beyond chance, "a" or "b"; None: neither."""
        if self.p_value >= LEVEL:
            return None
        return "b" if self.difference > 0 else "a"


def paired(right_a: Sequence[bool], right_b: Sequence[bool], seed: int = 0) -> Paired:
    """Compare two classifiers by whether they are right on each image.

    Args:
        right_a: Whether A is right, for each image, at least one.
        right_b: Whether B is right, for the same images.
        seed: Random seed of the bootstrap.
    """
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    only_a, only_b, images = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    p_value = mcnemar(only_a, only_b)
    return Paired(
        both=int((a & b).sum()),
        only_a=only_a,
        only_b=only_b,
        neither=int((~a & ~b).sum()),
        difference=(only_b - only_a) / images,
        ci95=difference_interval(only_a, only_b, images, seed),
        p_value=p_value,
        needed=None if p_value < LEVEL else images_needed(only_a, only_b, images),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the p-value of McNemar's exact test (McNemar 1947): of the images that only one gets right, is it half?

    Args:
        only_a: Number of images that only A gets right.
        only_b: Number of images that only B gets right.
    """
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def difference_interval(only_a: int, only_b: int, images: int, seed: int = 0) -> tuple[float, float]:
    """Return a 95% interval of the accuracy of B minus that of A, -1..1.

    It holds the percentiles of a bootstrap over images and, for the few images that decide, the interval that belongs
    to McNemar's exact test: Clopper and Pearson's of B's share among the images that only one gets right. The bootstrap
    alone is far too narrow where these are few.

    Args:
        only_a: Number of images that only A gets right.
        only_b: Number of images that only B gets right.
        images: Number of all images.
        seed: Random seed.
    """
    from scipy.stats import binomtest

    deciding = only_a + only_b
    if not deciding:
        bound = 1 - 0.025 ** (1 / images)  # the upper end of Clopper and Pearson's interval of 0 among so many
        return -bound, bound
    shares = np.array([only_a, only_b, images - deciding]) / images
    drawn = np.random.default_rng(seed).multinomial(images, shares, size=DRAWS)
    low, high = np.percentile((drawn[:, 1] - drawn[:, 0]) / images, [2.5, 97.5])
    share = binomtest(only_b, deciding).proportion_ci(0.95, method="exact")
    exact = [(2 * float(each) - 1) * deciding / images for each in (share.low, share.high)]
    return min(float(low), exact[0]), max(float(high), exact[1])


def images_needed(only_a: int, only_b: int, images: int) -> int | None:
    """Return the number of images with which McNemar's test sees a difference like this one (Connor 1987).

    Args:
        only_a: Number of images that only A gets right.
        only_b: Number of images that only B gets right.
        images: Number of all images.

    Returns:
        The number, in two digits; None if there is no difference.
    """
    from scipy.stats import norm

    difference, deciding = abs(only_b - only_a) / images, (only_a + only_b) / images
    if not difference:
        return None
    reach = norm.ppf(1 - LEVEL / 2) * math.sqrt(deciding) + norm.ppf(POWER) * math.sqrt(deciding - difference**2)
    needed = max((reach / difference) ** 2, images + 1)
    digits = 10 ** max(0, math.floor(math.log10(needed)) - 1)
    return int(math.ceil(needed / digits) * digits)


def mean_interval(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean of values [n].

    Args:
        values: One number an image, such as the difference of two losses.
        seed: Random seed.
    """
    rng, count = np.random.default_rng(seed), len(values)
    means = [float(values[rng.integers(0, count, count)].mean()) for _ in range(MEANS)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979): the chance that any of them is below by accident."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = worst
    return corrected
