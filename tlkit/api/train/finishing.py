"""Finish a network before it is saved: calibrate its confidence and fit its out-of-distribution statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tlkit.api.train.calibration import calibrate
from tlkit.api.train.dataset import Dataset
from tlkit.api.train.metrics import metrics_of
from tlkit.api.train.ood import ood_of_frozen, ood_of_tuned
from tlkit.api.train.trained import Trained
from tlkit.backbones.extractor import Extractor, widths_of
from tlkit.linear.classifier import ood_taps


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
