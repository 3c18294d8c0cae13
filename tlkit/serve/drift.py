"""Whether recent predictions look like the images that a bundle was trained on.

Two exact tests, on the last `WINDOW` images:

- The share flagged as unknown. The threshold is the r-th smallest of m scores of held-out images. If new images are
  like these, the number of n above it follows the beta-binomial distribution with parameters m - r + 1 and r, because
  the share of all such images above it is Beta(m - r + 1, r) (Wilks 1941, "Determination of Sample Sizes for Setting
  Tolerance Limits"). One-sided: only more unknown images than expected are worth a word.
- The share of each label, against its share of the training images: Fisher's exact test, two-sided.

`ALPHA` is divided by the number of tests (Bonferroni). The tests take images as independent of each other: a hundred
photos of one plant are not.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.linear.ood import MAX_IMAGES, OodStatistics
from tlkit.words import plural

WINDOW = 1000  # images
ALPHA = 0.001  # chance of a false alarm at one look: people look often
MAX_SAID = 5  # labels in a sentence
TEST = (
    f"unknown: exact beta-binomial test of the threshold, one-sided; labels: Fisher's exact test against the training "
    f"images, two-sided; differs if p is below {ALPHA:g} after Bonferroni's correction"
)


@dataclass(frozen=True)
class Expected:
    """What training saw.

    Attributes:
        counts: Training images of each class; empty if the bundle does not say.
        above: Held-out images of known classes whose score is above the threshold of unknown images.
        scores: Held-out images; 0 if the bundle cannot flag unknown images.
    """

    counts: tuple[int, ...]
    above: int
    scores: int


def expected_of(ood: OodStatistics | None, limit: float | None, split: dict[str, str], classes: int) -> Expected:
    """Return what training saw, as far as a bundle says.

    Args:
        ood: The bundle's statistics.
        limit: The score above which an image is unknown.
        split: The split of each image used.
        classes: Number of classes.
    """
    if ood is None or limit is None:
        return Expected((), 0, 0)
    images = min(sum(name == "train" for name in split.values()), MAX_IMAGES)
    # a class without training images has no share, and then nobody knows whose the others are
    counts = tuple(round(float(share) * images) for share in ood.shares) if len(ood.shares) == classes else ()
    if not math.isfinite(limit):
        return Expected(counts, 0, 0)
    return Expected(counts, int((ood.scores > limit).sum()), len(ood.scores))


class Drift:
    """The last predictions of one bundle.

    Args:
        classes: The class names.
        expected: What training saw.
    """

    def __init__(self, classes: Sequence[str], expected: Expected) -> None:
        self._classes = classes
        self._expected = expected
        self._index = {name: number for number, name in enumerate(classes)}
        self._recent: deque[tuple[int, bool]] = deque(maxlen=WINDOW)
        self._lock = threading.Lock()

    def add(self, label: str, unknown: bool | None) -> None:
        """Note one prediction."""
        with self._lock:
            self._recent.append((self._index[label], bool(unknown)))

    def to_json(self) -> dict[str, Any]:
        """Return recent shares, those of training, and whether they differ, as plain data."""
        with self._lock:
            recent = list(self._recent)
        counts = np.bincount([label for label, _ in recent], minlength=len(self._classes))
        unknown = sum(flag for _, flag in recent)
        tests = len(self._expected.counts) + bool(self._expected.scores)
        bound = ALPHA / max(1, tests)
        labels = self._labels(counts, len(recent), bound)
        flagged = self._unknown(unknown, len(recent), bound)
        says = _sentences(flagged, labels, len(recent))
        return {
            "images": len(recent),
            "differs": bool(says),
            "says": says,
            "test": TEST,
            "unknown": flagged,
            "labels": labels,
        }

    def _unknown(self, count: int, images: int, bound: float) -> dict[str, Any] | None:
        expected = self._expected
        if not expected.scores:
            return None
        p = beta_binomial_tail(count, images, expected.above + 1, expected.scores - expected.above)
        share = (expected.above + 1) / (expected.scores + 1)
        return _row(count, images, share, p, bound)

    def _labels(self, counts: NDArray[np.int64], images: int, bound: float) -> list[dict[str, Any]]:
        trained = self._expected.counts
        total = sum(trained)
        rows = []
        for number, name in enumerate(self._classes):
            count = int(counts[number])
            if total:
                p = fisher(count, images, trained[number], total)
                row = _row(count, images, trained[number] / total, p, bound)
            else:
                row = _row(count, images, None, None, bound)
            rows.append({"label": name, **row})
        return rows


def _row(count: int, images: int, expected: float | None, p: float | None, bound: float) -> dict[str, Any]:
    return {
        "count": count,
        "share": count / images if images else None,
        "expected": expected,
        "p": p,
        "differs": None if p is None else p < bound,
    }


def _sentences(unknown: dict[str, Any] | None, labels: Sequence[dict[str, Any]], images: int) -> list[str]:
    said = []
    of = f"of the last {plural(images, 'image')}"
    if unknown is not None and unknown["differs"]:
        said.append(f"{unknown['share']:.0%} {of} are flagged as unknown; expected: {unknown['expected']:.0%}")
    other = sorted((row for row in labels if row["differs"]), key=lambda row: float(row["p"]))
    said += [
        f"{row['share']:.0%} {of} are labelled {row['label']}; of the training images: {row['expected']:.0%}"
        for row in other[:MAX_SAID]
    ]
    if len(other) > MAX_SAID:
        said.append(f"{plural(len(other) - MAX_SAID, 'more label')} with another share than in training")
    return said


def _log_choose(n: float, k: NDArray[np.float64]) -> Any:
    return math.lgamma(n + 1) - _log_gamma(k + 1) - _log_gamma(n - k + 1)


_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])


def beta_binomial_tail(count: int, images: int, above: int, below: int) -> float:
    """Return the chance of at least ``count`` of ``images`` above a threshold, a beta-binomial tail.

    Args:
        count: Images above it.
        images: All images.
        above: First parameter of the beta distribution of the share above, at least 1.
        below: Its second parameter, at least 1.
    """
    if count <= 0:
        return 1.0
    k = np.arange(count, images + 1, dtype=np.float64)
    log = _log_choose(float(images), k) + _log_gamma(k + above) + _log_gamma(images - k + below)
    log += math.lgamma(above + below) - math.lgamma(above) - math.lgamma(below) - math.lgamma(images + above + below)
    return min(1.0, float(np.exp(log).sum()))


def fisher(count: int, images: int, trained: int, total: int) -> float:
    """Return the two-sided p value of Fisher's exact test: ``count`` of ``images`` against ``trained`` of ``total``."""
    marked, everything = count + trained, images + total
    k = np.arange(max(0, marked - total), min(images, marked) + 1, dtype=np.float64)
    log = _log_choose(float(images), k) + _log_choose(float(total), marked - k)
    log -= _log_choose(float(everything), np.asarray(float(marked)))
    chances = np.exp(log)
    own = chances[count - int(k[0])]
    return min(1.0, float(chances[chances <= own * (1 + 1e-7)].sum()))
