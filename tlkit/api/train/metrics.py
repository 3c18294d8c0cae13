"""Metrics on the held-out images, and cross-validation if there is no test set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.head import Solved, weighs_classes
from tlkit.backbones.extractor import widths_of
from tlkit.context import Context
from tlkit.evaluation.metrics import majority_accuracy, measure, wilson_interval
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.images.splits import MIN_IMAGES_FOR_TEST
from tlkit.linear.group_folds import interval_over_groups
from tlkit.plan.plan import Plan
from tlkit.store.disk_matrix import in_memory
from tlkit.words import plural

Probabilities = dict[str, NDArray[np.float32]]


def frozen_probabilities(dataset: Dataset, solved: Solved) -> Probabilities:
    """Probabilities of a head on the held-out images, by split: float32 [n, classes]."""
    taps = solved.choice.taps
    return {
        split: solved.head.probabilities(dataset.matrix(split, taps)) for split in (VAL, TEST) if dataset.count(split)
    }


def metrics_of(dataset: Dataset, probabilities: Probabilities) -> dict[str, Any]:
    """Metrics on the held-out images, by the names of the JSON contract."""
    figures: dict[str, Any] = {}
    for split, prefix in ((VAL, ""), (TEST, "test_")):
        if split not in probabilities:
            continue
        truth = dataset.labels(split)
        figures.update(measure(probabilities[split], truth).to_json(f"{split}_"))
        if any(dataset.folder.groups):
            right = probabilities[split].argmax(axis=1) == np.asarray(truth)
            interval = interval_over_groups(right.astype(np.float64), np.asarray(dataset.groups(split)))
            figures[f"{split}_accuracy_ci95"] = list(interval)
        baseline = majority_accuracy(dataset.labels(TRAIN), truth, len(dataset.classes))
        figures[f"{prefix}baseline_accuracy"] = baseline
    return figures


def are_finite(probabilities: Probabilities) -> bool:
    """Whether a network's probabilities are finite: training may have diverged."""
    return all(bool(np.isfinite(rows).all()) for rows in probabilities.values())


def instead_of_test(dataset: Dataset, plan: Plan, solved: Solved, context: Context) -> dict[str, Any]:
    """Cross-validated metrics of a frozen head, in place of a test set.

    Empty if there are test images, if there are enough images to hold some out, or if a class is too small.
    """
    from tlkit.linear.repeated_cv import repeated_right

    count = dataset.count(TRAIN)
    if dataset.count(TEST) or count >= MIN_IMAGES_FOR_TEST:
        return {}
    taps = solved.choice.taps
    right = repeated_right(
        in_memory(dataset.matrix(TRAIN, taps)),
        dataset.labels(TRAIN),
        solved.head.c,
        groups=dataset.groups(TRAIN),
        balanced=weighs_classes(plan, dataset),
        blocks=widths_of(dataset.features.taps, taps),
        seed=plan.seed,
        progress=context.show,
    )
    if right is None:
        return {}
    accuracy = float(right.mean())
    interval = wilson_interval(round(accuracy * count), count)
    if any(dataset.folder.groups):
        interval = interval_over_groups(right, np.asarray(dataset.groups(TRAIN)))
    return {"cv_accuracy": accuracy, "cv_accuracy_ci95": list(interval)}


def data_reasons(dataset: Dataset, plan: Plan) -> tuple[str, ...]:
    """Why images are weighted and split as they are, one sentence each."""
    counts = dataset.counts()
    return (
        f"the largest class has {max(counts) / min(counts):.1f} times as many training images as the smallest: "
        + (
            "classes are weighted by inverse frequency" if weighs_classes(plan, dataset) else "classes are not weighted"
        ),
        "the folder's own validation images are used"
        if dataset.own_validation
        else f"{plan.val_split:.0%} of each class is held out for validation, drawn with seed {plan.seed}; "
        f"{_together(dataset, plan)} stay on one side",
        _test_reason(dataset),
    )


def _together(dataset: Dataset, plan: Plan) -> str:
    if not any(dataset.folder.groups):
        return "copies"
    by = f" (by {plan.groups})" if plan.groups else ""
    return f"copies and the images of a group{by}"


def _test_reason(dataset: Dataset) -> str:
    count = dataset.count(TEST)
    if not count:
        return f"there is no test set: that requires {MIN_IMAGES_FOR_TEST} images, or --test-split"
    source = "from the folder's own test/" if dataset.own_test else "held out"
    return f"{plural(count, 'test image')} {source}, never used in training"
