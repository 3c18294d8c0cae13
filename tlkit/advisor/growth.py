"""Predict from the learning curve of the frozen head whether more images would help, and of which classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlkit.advisor.probes import Probes

WORTHWHILE = 0.01  # minimum gain in accuracy that is worth doubling the number of images
MAX_NAMED = 3
MIN_ERROR = 0.5  # images; used in place of zero errors


@dataclass(frozen=True)
class Growth:
    """Predicted effect of doubling the number of images.

    Attributes:
        gain: Predicted gain in accuracy, 0..1.
        accuracy: Predicted accuracy of a head on the frozen backbone, 0..1.
        worthwhile: Whether the gain is at least `WORTHWHILE`.
        classes: Classes to collect first, those with the lowest recall; empty if none stands out.
        why: One sentence.
    """

    gain: float
    accuracy: float
    worthwhile: bool
    classes: tuple[str, ...]
    why: str


def predict_growth(probes: Probes, names: Sequence[str]) -> Growth:
    """Extrapolate the learning curve by one doubling of the number of images.

    Errors fall as a power of the number of images (Hestness et al. 2017, "Deep Learning Scaling is Predictable,
    Empirically"), so the next doubling reduces them by the mean factor of the last two.

    Args:
        probes: Probes with a learning curve and recalls.
        names: Class names.
    """
    floor = MIN_ERROR / probes.images
    errors = [max(floor, 1.0 - accuracy) for _, accuracy in probes.curve]
    share = float(np.clip(np.sqrt(errors[-1] / errors[0]), 0.5, 1.0))  # two doublings from a quarter to all
    gain = (1.0 - probes.last.accuracy) * (1.0 - share)
    recalls = probes.recalls
    order = np.argsort(np.asarray(recalls), kind="stable")
    mean = float(np.mean(recalls))
    needy = tuple(names[i] for i in order[:MAX_NAMED] if recalls[i] < mean - 2 * probes.noise)
    why = f"doubling the number of images is predicted to raise accuracy by {100 * gain:.1f} percentage points"
    if gain < WORTHWHILE:
        why += ", so collecting more is hardly worth it"
    elif needy:
        why += f"; start with {', '.join(needy)}, most often misclassified"
    return Growth(gain, probes.last.accuracy + gain, gain >= WORTHWHILE, needy if gain >= WORTHWHILE else (), why)
