"""The last touches to a network before it is saved: confidence that can be trusted, and a sense for the unknown."""

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
    """The network with its confidence scaled, in the weights of head or network.

    Args:
        trained: As it was trained.
        dataset: Images and split.
        more: Figures that stand beside those on the held-out images.
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
    """The network with what tells images unlike those it was trained on."""
    plan = trained.plan
    shown = ood_taps(extractor.taps, plan.taps)
    if trained.tuned is not None:
        ood = ood_of_tuned(dataset, trained.tuned, widths_of(extractor.taps, shown), plan)
    else:
        ood = ood_of_frozen(dataset, shown, plan)
    return replace(trained, ood=ood, plan=plan.because(ood.why))
