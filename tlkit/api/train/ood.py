"""Learns what known images look like, before a bundle is saved, so that `predict` can tell images unlike them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.train.dataset import Dataset
from tlkit.images.folder import TRAIN, VAL
from tlkit.linear.ood import FEWEST, Known, fit_known, measures_unseen
from tlkit.linear.taps import rows_of, widths_of

if TYPE_CHECKING:
    from tlkit.api.train.tuning import Tuned

ENOUGH = 100  # validation images that tell a share of a few percent by themselves

Features = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Unknown:
    """How unlike images are told.

    Attributes:
        known: What known images look like; None where too little is known of them.
        rate: Share of known images that may be taken for unknown, 0..1.
        why: What was done, in a sentence.
    """

    known: Known | None
    rate: float
    why: str

    def to_json(self) -> dict[str, Any] | None:
        """What ``tlkit.json`` says; None where nothing can be told."""
        if self.known is None:
            return None
        return {"rate": self.rate, "images": len(self.known.scores)}


def learn_frozen(data: Dataset, shown: Sequence[str], rate: float, seed: int) -> Unknown:
    """From the features of a frozen backbone; validation images, if they are few, are helped by cross-validation.

    Args:
        data: Images, split and features.
        shown: Names of the blocks to look at.
        rate: Share of known images that may be taken for unknown.
        seed: Of folds and samples.
    """
    taps, blocks = data.features.taps, widths_of(data.features.taps, shown)

    def features(split: str) -> NDArray[np.float32]:
        return rows_of(data.features.matrix[[data.rows[i] for i in data.of(split)]], taps, shown)

    train = data.of(TRAIN)
    labels, groups = [data.folder.labels[i] for i in train], [data.groups[i] for i in train]
    seen = features(TRAIN)
    known = fit_known(seen, labels, blocks, seed)
    if known is None:
        return _too_few(len(train), rate)
    measures = known.measures(features(VAL))
    if len(measures) < ENOUGH:
        measures = np.concatenate([measures, measures_unseen(seen, labels, groups, blocks, seed)])
    return _calibrated(known, measures, rate)


def learn_tuned(data: Dataset, tuned: Tuned, blocks: Sequence[int], rate: float, seed: int) -> Unknown:
    """From the features that the tuned network computed of some training images and all validation images.

    Args:
        data: Images and split.
        tuned: The network.
        blocks: Widths of the features' blocks.
        rate: Share of known images that may be taken for unknown.
        seed: Of the sample.
    """
    if not tuned.sample:
        return Unknown(None, rate, "unlike images are not told apart: training was interrupted")
    labels = [data.folder.labels[i] for i in tuned.sample]
    known = fit_known(tuned.features[TRAIN], labels, blocks, seed)
    if known is None:
        return _too_few(len(labels), rate)
    return _calibrated(known, known.measures(tuned.features[VAL]), rate)


def _calibrated(known: Known, measures: NDArray[np.float64], rate: float) -> Unknown:
    if len(measures) < FEWEST:
        return _too_few(len(measures), rate)
    why = (
        f"images less like those trained on than {1 - rate:.0%} of {len(measures)} known ones, which it was not "
        "fitted on, are called unknown"
    )
    return Unknown(known.calibrated(measures), rate, why)


def _too_few(count: int, rate: float) -> Unknown:
    return Unknown(None, rate, f"unlike images are not told apart: {count} images are too few to learn that from")
