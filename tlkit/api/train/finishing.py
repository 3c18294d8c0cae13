"""Finish a network before it is saved: calibrate it, fit its out-of-distribution statistics, refit its head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tlkit.api.train.calibration import calibrate
from tlkit.api.train.dataset import Dataset
from tlkit.api.train.head import Solved, weighs_classes
from tlkit.api.train.held_out import Refit, measured
from tlkit.api.train.metrics import instead_of_test, metrics_of
from tlkit.api.train.ood import ood_of_frozen, ood_of_tuned
from tlkit.api.train.trained import Trained
from tlkit.backbones.extractor import Extractor, widths_of
from tlkit.context import Context
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.linear.classifier import ood_taps


def finish(trained: Trained, rival: Solved, dataset: Dataset, extractor: Extractor, context: Context) -> Trained:
    """Measure, calibrate, add the out-of-distribution statistics, refit the head of a frozen network, and predict.

    Args:
        trained: The network as trained.
        rival: The head on the frozen backbone, which is cross-validated if there is no test set.
        dataset: Images and split.
        extractor: The frozen backbone.
        context: Context of the run.
    """
    more = instead_of_test(dataset, trained.plan, rival, context)
    with context.show.phase("Calibrating", None):
        trained = with_ood(calibrated(trained, dataset, more), dataset, extractor)
    trained = refitted(trained, dataset, context)
    temperature = trained.calibration.temperature if trained.calibration else None
    refit = Refit(trained.refit, trained.head.c, temperature) if trained.refit else None
    found = measured(
        trained.probabilities, dataset, trained.plan, refit, selected=trained.tuning is not None, context=context
    )
    return replace(trained, measured=found)


def calibrated(trained: Trained, dataset: Dataset, more: dict[str, Any]) -> Trained:
    """Calibrate the confidence, in the weights of the head or the network.

    Args:
        trained: The network as trained.
        dataset: Images and split.
        more: Metrics to add to those on the held-out images.
    """
    calibration, probabilities = calibrate(dataset, trained.probabilities)
    plan = trained.plan.because(calibration.why)
    if calibration.temperature is None:
        return replace(trained, plan=plan, metrics=trained.metrics | more, calibration=calibration)
    if trained.tuned is not None:
        from tlkit.linear.classifier import apply_temperature

        apply_temperature(trained.tuned.model, calibration.temperature)
    return replace(
        trained,
        plan=plan,
        head=trained.head.with_temperature(calibration.temperature),
        probabilities=probabilities,
        metrics=metrics_of(dataset, probabilities) | more,
        calibration=calibration,
    )


def with_ood(trained: Trained, dataset: Dataset, extractor: Extractor) -> Trained:
    """Add the out-of-distribution statistics, which flag images unlike those the network was trained on."""
    plan = trained.plan
    shown = ood_taps(extractor.taps, plan.taps)
    if trained.tuned is not None:
        ood = ood_of_tuned(dataset, trained.tuned, widths_of(extractor.taps, shown), plan)
    else:
        ood = ood_of_frozen(dataset, shown, plan)
    return replace(trained, ood=ood, plan=plan.because(ood.why))


def refitted(trained: Trained, dataset: Dataset, context: Context) -> Trained:
    """Solve a frozen network's head once more on all images that may be used; its metrics stay as measured before.

    A folder's own val/ and test/ stay held out. The L2 strength and the temperature are those chosen before.
    """
    splits = refit_splits(dataset)
    plan = trained.plan
    if trained.tuned is not None or not plan.refit or splits == (TRAIN,):
        return trained
    from tlkit.linear.head import solve_head

    indices = [index for split in splits for index in dataset.of(split)]
    head = solve_head(
        dataset.features_of(indices, plan.taps),
        [dataset.folder.labels[index] for index in indices],
        len(dataset.classes),
        balanced=weighs_classes(plan, dataset),
        blocks=widths_of(dataset.features.taps, plan.taps),
        c=trained.head.c,
        seed=plan.seed,
        progress=context.show,
    )
    temperature = trained.calibration.temperature if trained.calibration else None
    if temperature is not None:
        head = head.with_temperature(temperature)
    head = replace(head, search=trained.head.search)
    why = f"after it was measured, the head was solved once more on all {len(indices)} images"
    return replace(trained, head=head, refit=splits, plan=plan.because(why))


def refit_splits(dataset: Dataset) -> tuple[str, ...]:
    """The splits that a final refit uses: the training images, and held-out images that were drawn automatically."""
    own = {VAL: dataset.own_validation, TEST: dataset.own_test}
    return (TRAIN, *(split for split, its in own.items() if not its and dataset.count(split)))
