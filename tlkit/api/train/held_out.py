"""Predictions for images that the network was not trained on, from which a bundle learns how sure it must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.head import weighs_classes
from tlkit.api.train.metrics import Probabilities
from tlkit.backbones.extractor import widths_of
from tlkit.context import Context
from tlkit.evaluation.promise import HeldOut
from tlkit.images.folder import TEST, VAL
from tlkit.linear.folds import folds_for, make_folds
from tlkit.linear.temperature import tempered
from tlkit.plan.plan import Plan

ENOUGH = 2000
"""Held-out images that need no help: cross-validation takes as long as solving a few heads."""

HELD, CROSS = "held out", "cross-validated"
GROUPS = "the images come in groups, so those held out are not like new ones; name the groups with --groups"
SELECTED = (
    "the validation images also selected the network; hold out test images with --test-split, or run tlkit evaluate "
    "--precision on new ones"
)


@dataclass(frozen=True)
class Refit:
    """How a head was solved once more.

    Attributes:
        splits: The splits of its images.
        c: Its inverse L2 strength.
        temperature: What its logits were divided by; None: they were not.
    """

    splits: Sequence[str]
    c: float
    temperature: float | None


@dataclass(frozen=True)
class Measured:
    """Predictions for images that the network was not trained on.

    Attributes:
        held_out: The predictions; None if there are none that can be relied on.
        source: `HELD`, or `CROSS`: of heads that were solved without the image.
        why: Why there are none; else "".
    """

    held_out: HeldOut | None
    source: str = HELD
    why: str = ""

    def to_json(self) -> dict[str, Any] | None:
        """Return the entry in ``tlkit.json``; None without predictions."""
        return None if self.held_out is None else {"source": self.source, "images": len(self.held_out)}


def measured(
    probabilities: Probabilities, dataset: Dataset, plan: Plan, refit: Refit | None, *, selected: bool, context: Context
) -> Measured:
    """Gather the predictions, one for each group of images: copies, and images of one group, are no independent draws.

    If a head was solved once more on the held-out images, and these are few, heads solved without a fold of the images
    stand for it. Validation images do not count where they also selected the network.

    Args:
        probabilities: Of the held-out images, by split, float32 [n, classes].
        dataset: Images and split.
        plan: What was done.
        refit: How the head was solved once more on held-out images; None: it was not.
        selected: Whether the validation images selected the network.
        context: Context of the run.
    """
    if dataset.grouping is not None and dataset.grouping.differs and not dataset.grouping.asked:
        return Measured(None, why=GROUPS)
    splits = [split for split in (VAL, TEST) if split in probabilities and dataset.count(split)]
    if refit is not None and sum(map(dataset.count, splits)) < ENOUGH:
        found = _cross_validated(refit, dataset, plan, context)
        if found is not None:
            return Measured(found, CROSS)
    if selected:
        splits = [split for split in splits if split != VAL]
    if not splits:
        return Measured(None, why=SELECTED)
    rows = np.concatenate([probabilities[split] for split in splits])
    indices = [index for split in splits for index in dataset.of(split)]
    return Measured(_one_each(rows, indices, dataset, plan))


def _cross_validated(refit: Refit, dataset: Dataset, plan: Plan, context: Context) -> HeldOut | None:
    """Predict every image that the head was solved on by one that was solved without it; None if that cannot be."""
    from tlkit.linear.head import cross_validate
    from tlkit.linear.scaling import standardise
    from tlkit.store.disk_matrix import in_memory

    indices = [index for split in refit.splits for index in dataset.of(split)]
    target = np.asarray([dataset.folder.labels[index] for index in indices], dtype=np.int64)
    groups = [dataset.group_of[index] for index in indices]
    folds = make_folds(target, groups, plan.seed, folds_for(len(target)))
    if not folds:
        return None
    blocks = widths_of(dataset.features.taps, plan.taps)
    scaled, _, _ = standardise(in_memory(dataset.features_of(indices, plan.taps)), blocks)
    _, found = cross_validate(
        scaled,
        target,
        folds,
        grid=[refit.c],
        balanced=weighs_classes(plan, dataset),
        progress=context.show,
    )
    probabilities = np.zeros((len(target), len(dataset.classes)), np.float32)
    probabilities[:, np.unique(target)] = found
    if refit.temperature is not None:
        probabilities = tempered(probabilities, refit.temperature)
    tested = np.sort(np.concatenate([test for _, test in folds]))
    return _one_each(probabilities[tested], [indices[row] for row in tested], dataset, plan)


def _one_each(
    probabilities: NDArray[np.float32], indices: Sequence[int], dataset: Dataset, plan: Plan
) -> HeldOut | None:
    """Keep a random image of each group.

    Args:
        probabilities: float32 [n, classes].
        indices: Index into the dataset of each row.
        dataset: Images and groups.
        plan: The plan, with the seed.
    """
    order = np.random.default_rng(plan.seed).permutation(len(indices))
    numbers = np.asarray([dataset.group_of[index] for index in indices])
    _, firsts = np.unique(numbers[order], return_index=True)
    kept = np.sort(order[firsts])
    labels = [dataset.folder.labels[indices[row]] for row in kept]
    return HeldOut.of(probabilities[kept], labels) if len(kept) else None
