"""What a pilot found: some steps of training weights on a part of the training pictures, judged on the rest."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Pilot:
    """The last layers trained for a part of the steps.

    Attributes:
        pictures: How many it was judged on; none of them was trained on.
        steps: Optimizer steps it made.
        frozen_accuracy: Of a solved head on the frozen backbone, on those pictures, 0..1.
        frozen_loss: Its mean cross-entropy, nats.
        accuracy: After the steps.
        loss: Likewise.
    """

    pictures: int
    steps: int
    frozen_accuracy: float
    frozen_loss: float
    accuracy: float
    loss: float

    @property
    def log_share(self) -> float:
        """Logarithm of the share of errors the steps left; half an error is added to both, so that none is infinite."""
        left, before = ((1 - each) * self.pictures + 0.5 for each in (self.accuracy, self.frozen_accuracy))
        return math.log(left / before)

    @property
    def log_loss_share(self) -> float:
        """Logarithm of the share of the loss that is left."""
        return math.log(max(1e-3, self.loss) / max(1e-3, self.frozen_loss))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
