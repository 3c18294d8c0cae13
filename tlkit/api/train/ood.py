"""Fit the out-of-distribution statistics of a network before it is saved, so that `predict` can flag unknown images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.train.dataset import Dataset
from tlkit.backbones.extractor import widths_of
from tlkit.images.folder import TRAIN, VAL
from tlkit.linear.ood import MIN_SCORES, OodStatistics, cross_validated_measures, fit_ood
from tlkit.plan.plan import Plan

if TYPE_CHECKING:
    from tlkit.api.train.tuning import Tuned

MIN_VALIDATION = 100  # validation images that suffice to set a rate of a few percent


@dataclass(frozen=True)
class Ood:
    """How unknown images are flagged.

    Attributes:
        statistics: Statistics of the features of known images; None if there are too few.
        rate: Share of known images that may be flagged as unknown, 0..1.
        why: What was done, in a sentence.
    """

    statistics: OodStatistics | None
    rate: float
    why: str

    def to_json(self) -> dict[str, Any] | None:
        """Return the entry in ``tlkit.json``; None if unknown images cannot be flagged."""
        if self.statistics is None:
            return None
        return {"rate": self.rate, "images": len(self.statistics.scores)}


def ood_of_frozen(dataset: Dataset, shown: Sequence[str], plan: Plan) -> Ood:
    """Fit on the features of a frozen backbone; cross-validation helps out if validation images are few.

    Args:
        dataset: Images, split and features.
        shown: Names of the blocks to use.
        plan: The plan, with the rate, and the seed of folds and samples.
    """
    blocks, labels, seen = widths_of(dataset.features.taps, shown), dataset.labels(TRAIN), dataset.matrix(TRAIN, shown)
    statistics = fit_ood(seen, labels, blocks, plan.seed)
    if statistics is None:
        return _too_few(len(labels), plan.unknown_rate)
    measures = statistics.measures(dataset.matrix(VAL, shown))
    if len(measures) < MIN_VALIDATION:
        unseen = cross_validated_measures(seen, labels, dataset.groups(TRAIN), blocks, plan.seed)
        measures = np.concatenate([measures, unseen])
    return _calibrated(statistics, measures, plan.unknown_rate)


def ood_of_tuned(dataset: Dataset, tuned: Tuned, blocks: Sequence[int], plan: Plan) -> Ood:
    """Fit on the features that the tuned network computed for some training images and all validation images.

    Args:
        dataset: Images and split.
        tuned: The network.
        blocks: Widths of the features' blocks.
        plan: The plan, with the rate, and the seed of the sample.
    """
    rate = plan.unknown_rate
    if not tuned.sample:
        return Ood(None, rate, "unknown images cannot be flagged: training was interrupted")
    labels = [dataset.folder.labels[i] for i in tuned.sample]
    statistics = fit_ood(tuned.features[TRAIN], labels, blocks, plan.seed)
    if statistics is None:
        return _too_few(len(labels), rate)
    return _calibrated(statistics, statistics.measures(tuned.features[VAL]), rate)


def _calibrated(statistics: OodStatistics, measures: NDArray[np.float64], rate: float) -> Ood:
    if len(measures) < MIN_SCORES:
        return _too_few(len(measures), rate)
    why = (
        f"an image is flagged as unknown if it is less like the training images than {1 - rate:.0%} of "
        f"{len(measures)} held-out images of known classes"
    )
    return Ood(statistics.calibrated(measures), rate, why)


def _too_few(count: int, rate: float) -> Ood:
    return Ood(None, rate, f"unknown images cannot be flagged: too few images to learn from ({count})")
