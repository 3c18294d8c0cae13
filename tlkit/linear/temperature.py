"""Temperature scaling: one number that calibrates a classifier's confidence.

Guo et al. 2017, "On Calibration of Modern Neural Networks". Logits are divided by a temperature fitted on held-out
images; predicted classes stay the same. The division is folded into the head's weights, so every engine returns
calibrated probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_IMAGES = 50  # held-out images; a temperature from fewer is mostly noise
# deviation of the prior of the log temperature; if every prediction is correct, the likelihood alone has no maximum
SPREAD = 0.5
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 10.0


def fit_temperature(probabilities: NDArray[np.floating[Any]], labels: Sequence[int]) -> float:
    """Return the maximum a posteriori temperature; above 1 if the network is overconfident.

    It lies between `MIN_TEMPERATURE` and `MAX_TEMPERATURE`. The likelihood is that of the labels; the prior of the log
    temperature is normal with mean 0.

    Args:
        probabilities: Probabilities of held-out images, [n, classes], rows sum to 1.
        labels: Class indices [n].
    """
    from scipy.optimize import minimize_scalar

    logits, truth = _logits(probabilities), np.asarray(labels)

    def cost(logarithm: float) -> float:
        scaled = logits / np.exp(logarithm)
        largest = scaled.max(axis=1)
        log_sum = largest + np.log(np.exp(scaled - largest[:, None]).sum(axis=1))
        likelihood = (log_sum - scaled[np.arange(len(truth)), truth]).sum()
        return float(likelihood + logarithm**2 / (2 * SPREAD**2))

    found = minimize_scalar(cost, bounds=(np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)), method="bounded")
    return float(np.exp(found.x))


def tempered(probabilities: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float32]:
    """Return probabilities with their logits divided by a temperature: float32 [n, classes], rows sum to 1."""
    scaled = _logits(probabilities) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def _logits(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny)))
