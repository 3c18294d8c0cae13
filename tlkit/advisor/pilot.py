"""What a pilot found: some steps of training weights on a part of the training images, judged on the rest."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from tlkit.plan.choices import LAST_LAYERS

TRUSTED = 30  # images on which what a pilot found counts half


@dataclass(frozen=True)
class Pilot:
    """The last layers trained for a part of the steps.

    Attributes:
        images: How many it was judged on; none of them was trained on.
        steps: Optimizer steps it made.
        frozen_accuracy: Of a solved head on the frozen backbone, on those images, 0..1.
        frozen_loss: Its mean cross-entropy, nats.
        accuracy: After the steps.
        loss: Likewise.
    """

    images: int
    steps: int
    frozen_accuracy: float
    frozen_loss: float
    accuracy: float
    loss: float

    @property
    def log_share(self) -> float:
        """Logarithm of the share of errors the steps left; half an error is added to both, so that none is infinite."""
        left, before = ((1 - each) * self.images + 0.5 for each in (self.accuracy, self.frozen_accuracy))
        return math.log(left / before)

    @property
    def gain(self) -> float:
        """What the advisor's rule takes: `log_share`, the nearer to 0 the fewer images it was judged on."""
        return self.log_share * self.images / (self.images + TRUSTED)

    @property
    def why(self) -> str:
        """One sentence."""
        return (
            f"a pilot, {self.steps} steps of {LAST_LAYERS} on a part of the training images, took the accuracy on "
            f"{self.images} others from {self.frozen_accuracy:.1%} to {self.accuracy:.1%}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
