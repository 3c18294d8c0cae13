"""Choose between backbones by cross-validated accuracy and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Candidate:
    """A backbone, measured on a sample of the images.

    Attributes:
        name: Name in the catalogue.
        params: Number of parameters without the classifier.
        latency: Seconds per image on one core of this machine.
        accuracy: Accuracy of the better of two cross-validated probes, on the top and on all stages, 0..1.
        right: Whether that probe classified each image correctly, bool [n]; the same images for all backbones.
    """

    name: str
    params: int
    latency: float
    accuracy: float
    right: NDArray[np.bool_]


def choose_backbone(candidates: Sequence[Candidate]) -> tuple[Candidate, str]:
    """Return the smallest backbone that is not clearly worse than the most accurate one, and the reason.

    Clearly worse means by more than one standard error of the paired difference (McNemar 1947).

    Args:
        candidates: At least one, all measured on the same images.
    """
    best = max(candidates, key=lambda each: each.accuracy)
    as_good = [each for each in candidates if not _is_worse(each, best)]
    chosen = min(as_good, key=lambda each: (each.params, each.name))
    figures = ", ".join(
        f"{each.name} {each.accuracy:.1%} ({each.params / 1e6:.1f}M parameters, {1000 * each.latency:.0f} ms per image)"
        for each in candidates
    )
    if len(candidates) == 1:
        return chosen, f"{chosen.name} is the only backbone on this machine within the limits"
    why = "is the most accurate" if chosen is best else f"is smaller than {best.name} and as good within the noise"
    return chosen, f"{chosen.name} {why}; probe accuracies: {figures}"


def _is_worse(one: Candidate, other: Candidate) -> bool:
    lost, won = int((other.right & ~one.right).sum()), int((one.right & ~other.right).sum())
    return bool(lost - won > np.sqrt(lost + won))
