"""Result of a pilot: a short trial of fine-tuning on part of the training images, evaluated on the rest."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from tlkit.plan.choices import LAST_LAYERS
from tlkit.words import plural

MIN_FALL = 0.05  # of the log loss, relative, that shows a gain
MAX_FEWER, MIN_FOR_MAX_FEWER = 2, 20  # evaluation images that a lower log loss may make up for, from so many on
HALF_WEIGHT = 30  # evaluation images at which the result of a pilot gets half its weight


@dataclass(frozen=True)
class Pilot:
    """A short trial of training the last layers.

    Attributes:
        images: Number of evaluation images, not used in training.
        steps: Number of optimizer steps.
        frozen_accuracy: Accuracy of the best head on the frozen backbone on those images, 0..1.
        frozen_loss: Its log loss, calibrated, nats.
        accuracy: Accuracy after the steps, 0..1.
        loss: Log loss after the steps, calibrated, nats.
        error: Standard error of the difference between both losses, nats.
    """

    images: int
    steps: int
    frozen_accuracy: float
    frozen_loss: float
    accuracy: float
    loss: float
    error: float = 0.0

    @property
    def shows_gain(self) -> bool:
        """Whether training clearly lowered the log loss, and accuracy did not fall by more than that makes up for."""
        fall = self.frozen_loss - self.loss
        fewer = round(self.images * (self.frozen_accuracy - self.accuracy))
        allowed = MAX_FEWER if self.images >= MIN_FOR_MAX_FEWER else 0
        return fall >= max(MIN_FALL * self.frozen_loss, self.error) and fewer <= allowed

    @property
    def log_share(self) -> float:
        """Logarithm of the share of errors left; half an error is added to both counts to keep it finite."""
        left, before = ((1 - each) * self.images + 0.5 for each in (self.accuracy, self.frozen_accuracy))
        return math.log(left / before)

    @property
    def gain(self) -> float:
        """Input of the advisor's rule: `log_share`, shrunk towards 0 if there are few evaluation images."""
        return self.log_share * self.images / (self.images + HALF_WEIGHT)

    @property
    def why(self) -> str:
        """One sentence."""
        return (
            f"pilot: {plural(self.steps, 'step')} of {LAST_LAYERS} on part of the training images; accuracy on the "
            f"other {plural(self.images, 'image')}: {self.frozen_accuracy:.1%} frozen, {self.accuracy:.1%} trained; "
            f"log loss {self.frozen_loss:.3f} and {self.loss:.3f}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)
