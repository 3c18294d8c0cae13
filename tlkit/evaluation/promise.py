"""How sure a classifier must be to be right at a rate that is named: selective prediction with a guarantee.

Images are answered if the classifier is sure enough, and the rest is left to a person (El-Yaniv & Wiener 2010; Geifman
& El-Yaniv 2017, "Selective Classification for Deep Neural Networks"). How sure it must be is chosen on images whose
classes are known. Choosing among many thresholds on the same images would find one that is right too often by luck, so
the choice is a sequence of tests that together are wrong in at most 5% of cases: the fallback procedure (Wiens 2003) on
numbers of images that are fixed in advance, as in "Learn then Test" (Angelopoulos et al. 2021). Each test is exact:
given the threshold, the images above it are independent draws, so their mistakes are binomial (Clopper & Pearson 1934).
docs/decisions/075 says more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Share of cases in which a promise holds, over the draw of the images that it was measured on."""

PROMISED = (0.99, 0.95, 0.9)
"""The precisions that train and evaluate speak of, the first that can be promised."""

STEPS = 40  # numbers of images that are tested, from the fewest that can pass to all
STARTS = (0, 1 / 8, 1 / 4, 1 / 2, 3 / 4)  # where in that sequence tests begin anew
FEW = 5  # with fewer than this many times the fewest images there is one start, at the full level


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions for images whose classes are known and that training did not use, the surest first.

    Attributes:
        doubts: float32 [n], ascending: how unsure each prediction is, from `doubts_of`, 0..1.
        answers: int32 [n], index of the predicted class.
        right: bool [n], whether that is the image's class.
    """

    doubts: NDArray[np.float32]
    answers: NDArray[np.int32]
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, probabilities: NDArray[np.floating[Any]], labels: Sequence[int] | NDArray[np.int64]) -> HeldOut:
        """Sort predictions.

        Args:
            probabilities: [n, classes], rows sum to 1.
            labels: Class indices [n].
        """
        doubts, answers = doubts_of(probabilities), probabilities.argmax(axis=1).astype(np.int32)
        order = np.argsort(doubts, kind="stable")
        return cls(doubts[order], answers[order], (answers == np.asarray(labels))[order])

    def __len__(self) -> int:
        return len(self.doubts)

    def of_class(self, answer: int) -> HeldOut:
        """Keep the images that are predicted as one class."""
        chosen = self.answers == answer
        return HeldOut(self.doubts[chosen], self.answers[chosen], self.right[chosen])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by name, for ``np.savez``; `from_arrays` is the inverse."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]], classes: int) -> HeldOut:
        """Rebuild the predictions from `arrays`, which may come from a stranger.

        Raises:
            ValueError: An array's type or shape does not fit, or its values are no such predictions.
        """
        found = cls(**{each.name: arrays[each.name] for each in fields(cls)})
        kinds = {"doubts": np.float32, "answers": np.int32, "right": np.bool_}
        for name, kind in kinds.items():
            array = getattr(found, name)
            if array.dtype != np.dtype(kind) or array.shape != (found.doubts.size,):
                raise ValueError(f"{name} must be {np.dtype(kind)} [n], not {array.dtype} {list(array.shape)}")
        ordered = np.isfinite(found.doubts).all() and (np.diff(found.doubts) >= 0).all()
        if not ordered or (found.doubts < 0).any() or (found.doubts > 1).any():
            raise ValueError("doubts must be within 0..1, ascending")
        if (found.answers < 0).any() or (found.answers >= classes).any():
            raise ValueError(f"answers must be class indices below {classes}")
        return found


@dataclass(frozen=True)
class Promise:
    """How unsure a prediction may be for the answers to be right at a rate.

    Attributes:
        precision: Share of the answered images that is right, at least, 0..1.
        confidence: Share of cases in which that holds, over the draw of the held-out images.
        limit: The doubt from which an image is left to a person; infinite: every image is answered.
        answered: Number of held-out images that are answered.
        wrong: How many of these are wrong.
        images: Number of held-out images.
    """

    precision: float
    confidence: float
    limit: float
    answered: int
    wrong: int
    images: int

    @property
    def coverage(self) -> float:
        """Share of the held-out images that is answered, 0..1."""
        return self.answered / self.images

    @property
    def threshold(self) -> float:
        """The lowest probability that is answered, rounded up in the last of twelve digits."""
        return 0.0 if math.isinf(self.limit) else min(1.0, math.ceil((1 - self.limit) * 1e12) / 1e12)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "precision": self.precision,
            "confidence": self.confidence,
            "coverage": self.coverage,
            "images": self.images,
            "answered": self.answered,
            "to_review": self.images - self.answered,
            "wrong": self.wrong,
            "threshold": self.threshold,
        }

    def __str__(self) -> str:
        rest = self.images - self.answered
        return (
            f"answers {_share(self.coverage)} by itself at {rate(self.precision)} precision or better "
            f"({rate(self.confidence)} confidence); {rest:,} of {self.images:,} to look at"
        )


def doubts_of(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return how unsure predictions are: the sum of the probabilities of all other classes, float32 [n], 0..1.

    It is 1 minus the largest probability, but keeps its digits where that is all but 1.

    Args:
        probabilities: [n, classes], rows sum to 1.
    """
    others = probabilities.astype(np.float64)
    others[np.arange(len(others)), others.argmax(axis=1)] = 0
    return np.asarray(np.minimum(others.sum(axis=1), 1), dtype=np.float32)


def promise(held_out: HeldOut, precision: float, level: float = 1 - CONFIDENCE) -> Promise | None:
    """Find how unsure a prediction may be, for a precision that holds for new images of the same kind.

    Over the draw of the held-out images, the precision on new images is lower than promised in at most ``level`` of all
    cases. This assumes that these are independent draws, and that precision falls below the rate only once as ever less
    sure images are answered.

    Args:
        held_out: The predictions.
        precision: Share of the answered images that is to be right, above 0 and below 1.
        level: Share of cases in which it may not hold.

    Returns:
        The promise that answers most images; None: there is none.
    """
    images, risk = len(held_out), 1 - precision
    wrong = np.concatenate([[0], np.cumsum(~held_out.right)])
    best, spent = 0, 0.0
    for rank, share in _tests(images, risk, level):
        # above the doubt of an image at a given rank, all others are independent draws; that image itself is not
        limit = math.inf if rank == images else float(held_out.doubts[rank])
        count = int(np.searchsorted(held_out.doubts, np.float32(limit)))
        spent += share
        if count and binomial_tail(int(wrong[count]), count, risk) <= spent:
            best = max(best, count)
        else:
            spent = 0.0
    if not best:
        return None
    limit = math.inf if best == images else float(held_out.doubts[best])
    return Promise(precision, 1 - level, limit, best, int(wrong[best]), images)


def each_class(held_out: HeldOut, precision: float, classes: int) -> list[Promise | None]:
    """Find a promise for the answers of every class by itself; all of them hold together.

    The share of cases in which they may not hold is divided by the number of classes (Bonferroni).

    Args:
        held_out: The predictions.
        precision: As for `promise`.
        classes: Number of classes.
    """
    level = (1 - CONFIDENCE) / classes
    return [promise(held_out.of_class(number), precision, level) for number in range(classes)]


def images_needed(precision: float, level: float = 1 - CONFIDENCE) -> int:
    """Return the fewest held-out images, all of them right, from which a precision can be promised."""
    return math.ceil(math.log(level) / math.log(precision) - 1e-9)


def binomial_tail(mistakes: int, images: int, risk: float) -> float:
    """Return the chance of at most ``mistakes`` among ``images`` that are wrong with a chance of ``risk`` each."""
    steps = np.arange(1, mistakes + 1, dtype=np.float64)
    ratios = np.log(images - steps + 1) - np.log(steps) + math.log(risk) - math.log1p(-risk)
    logs = images * math.log1p(-risk) + np.concatenate([[0.0], np.cumsum(ratios)])
    return float(min(1.0, np.exp(logs).sum()))


def _tests(images: int, risk: float, level: float) -> list[tuple[int, float]]:
    """Return the numbers of images that are tested, ascending, and what each adds to the level of its test.

    They depend on nothing but the number of images, so that the images cannot choose them.
    """
    starts = STARTS if images >= FEW * images_needed(1 - risk, level) else STARTS[:1]
    first = images_needed(1 - risk, level / len(starts))
    if first > images:
        return []
    ranks = sorted({round(rank) for rank in np.linspace(first, images, STEPS)})
    shares = dict.fromkeys(ranks, 0.0)
    for start in starts:
        shares[ranks[int(start * len(ranks))]] += level / len(starts)
    return list(shares.items())


def rate(share: float) -> str:
    """Write a rate that somebody chose: 0.99 as "99%", 0.995 as "99.5%"."""
    return f"{100 * share:.6g}%"


def _share(share: float) -> str:
    """Write a share of images: whole percents, but neither 0% nor 100% where that is not so."""
    if 0 < share < 0.005:
        return "under 1%"
    return "over 99%" if 0.995 <= share < 1 else f"{share:.0%}"
