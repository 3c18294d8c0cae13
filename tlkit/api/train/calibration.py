"""Calibrate the confidence of a network before it is saved, by a temperature fitted on the validation images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.metrics import Probabilities
from tlkit.evaluation.metrics import calibration_error, exact
from tlkit.images.folder import VAL
from tlkit.linear.temperature import MIN_IMAGES, fit_temperature, tempered


@dataclass(frozen=True)
class Calibration:
    """How a network's confidence was scaled.

    Attributes:
        temperature: What its logits were divided by; None: they were not changed.
        images: Number of validation images.
        ece_before: Expected calibration error on them before scaling, 0..1.
        ece_after: The same after scaling; equal if nothing was scaled.
        why: What was done, in a sentence.
    """

    temperature: float | None
    images: int
    ece_before: float
    ece_after: float
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def calibrate(dataset: Dataset, probabilities: Probabilities) -> tuple[Calibration, Probabilities]:
    """Fit the temperature, and return the calibrated probabilities.

    Args:
        dataset: Images and split.
        probabilities: Probabilities of the network as trained, by split.
    """
    labels, raw = dataset.labels(VAL), probabilities[VAL]
    before = calibration_error(exact(raw), labels)
    if len(labels) < MIN_IMAGES:
        why = f"confidence is not calibrated: that requires {MIN_IMAGES} validation images, and there are {len(labels)}"
        return Calibration(None, len(labels), before, before, why), probabilities
    temperature = fit_temperature(raw, labels)
    scaled = {split: tempered(values, temperature) for split, values in probabilities.items()}
    after = calibration_error(exact(scaled[VAL]), labels)
    why = (
        f"confidence is calibrated by a temperature of {temperature:.2f}: expected calibration error {before:.3f} "
        f"before, {after:.3f} after, on the {len(labels)} validation images it was fitted on"
    )
    return Calibration(temperature, len(labels), before, after, why), scaled
