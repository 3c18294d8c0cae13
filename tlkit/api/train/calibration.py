"""Confidence made honest: a temperature from the validation images, before a network is saved."""

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
        temperature: What its logits were divided by; None: they were left as they are.
        images: Validation images.
        ece_before: Expected calibration error on them without it, 0..1.
        ece_after: And with it, on the same images; equal where nothing was done.
        why: What was done, in a sentence.
    """

    temperature: float | None
    images: int
    ece_before: float
    ece_after: float
    why: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def calibrate(dataset: Dataset, probabilities: Probabilities) -> tuple[Calibration, Probabilities]:
    """The temperature, and what the network says once it is applied.

    Args:
        dataset: Images and split.
        probabilities: Of the network as trained, by split.
    """
    labels, raw = dataset.labels(VAL), probabilities[VAL]
    before = calibration_error(exact(raw), labels)
    if len(labels) < MIN_IMAGES:
        why = (
            f"confidence is as trained: {len(labels)} validation images are too few to scale it, {MIN_IMAGES} are "
            "needed"
        )
        return Calibration(None, len(labels), before, before, why), probabilities
    temperature = fit_temperature(raw, labels)
    scaled = {split: tempered(values, temperature) for split, values in probabilities.items()}
    after = calibration_error(exact(scaled[VAL]), labels)
    why = (
        f"confidence is scaled by a temperature of {temperature:.2f}: calibration error (ECE) {before:.3f} before and "
        f"{after:.3f} after, on the {len(labels)} validation images it was fitted on"
    )
    return Calibration(temperature, len(labels), before, after, why), scaled
