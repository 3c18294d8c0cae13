"""Whether more images would help, and of which class: from the learning curve of the frozen head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlkit.advisor.probes import Probes

WORTHWHILE = 0.01  # gain in accuracy from twice the images, below which they are not worth the work
MAX_NAMED = 3
MIN_ERROR = 0.5  # images: the error of a set without any


@dataclass(frozen=True)
class Growth:
    """What twice the images would bring.

    Attributes:
        gain: Expected gain in accuracy, 0..1.
        accuracy: Of a head on the frozen backbone with them, 0..1.
        worthwhile: Whether it is more than `WORTHWHILE`.
        classes: Those to collect first: most often mistaken, and still gaining; empty where none stands out.
        why: One sentence.
    """

    gain: float
    accuracy: float
    worthwhile: bool
    classes: tuple[str, ...]
    why: str


def foresee_growth(probes: Probes, names: Sequence[str]) -> Growth:
    """Extend the learning curve by one doubling.

    Errors fall as a power of the number of images (Hestness et al. 2017, "Deep Learning Scaling is Predictable,
    Empirically"), so the next doubling leaves the same share of them as the mean of the last two did.

    Args:
        probes: With a learning curve, and the share of each class's images that were classified right.
        names: Of the classes.
    """
    floor = MIN_ERROR / probes.images
    errors = [max(floor, 1.0 - accuracy) for _, accuracy in probes.curve]
    share = float(np.clip(np.sqrt(errors[-1] / errors[0]), 0.5, 1.0))  # two doublings from a quarter to all
    gain = (1.0 - probes.last.accuracy) * (1.0 - share)
    recalls = probes.recalls
    order = np.argsort(np.asarray(recalls), kind="stable")
    mean = float(np.mean(recalls))
    needy = tuple(names[i] for i in order[:MAX_NAMED] if recalls[i] < mean - 2 * probes.noise)
    why = f"twice the images would make a head on the frozen backbone right on {gain:.1%} more of new ones"
    if gain < WORTHWHILE:
        why += ": hardly worth collecting them"
    elif needy:
        why += f"; begin with {', '.join(needy)}, which it mistakes most often"
    return Growth(gain, probes.last.accuracy + gain, gain >= WORTHWHILE, needy if gain >= WORTHWHILE else (), why)
