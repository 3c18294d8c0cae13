"""Choose between frozen networks by cross-validation: which backbone, input size and features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlkit.plan.choices import ALL

PRICE = 0.02  # share of the log loss that each further pass of the default network must save


@dataclass(frozen=True)
class FrozenCandidate:
    """A frozen network with a head, cross-validated on a sample of the training images.

    Attributes:
        backbone: Name of the backbone.
        input_size: Side of the square input in pixels.
        features: Input of the head: "last" or "all", as in the Plan.
        cost: Multiply-adds per image, relative to the default backbone at its own input size.
        images: Number of images it was cross-validated on.
        accuracy: Cross-validated accuracy, 0..1.
        log_loss: Cross-validated log loss in nats.
    """

    backbone: str
    input_size: int
    features: str
    cost: float
    images: int
    accuracy: float
    log_loss: float

    @property
    def network(self) -> tuple[str, int]:
        """Backbone and input size, which together decide what a prediction costs."""
        return self.backbone, self.input_size

    @property
    def priced_loss(self) -> float:
        """Log loss, raised by `PRICE` for each pass of the default network that it costs beyond the first."""
        return self.log_loss * (1.0 + PRICE * (self.cost - 1.0))

    def __str__(self) -> str:
        stages = "all stages" if self.features == ALL else "the last stage"
        return f"{self.backbone} at {self.input_size} px with the features of {stages}"


def choose_frozen(candidates: Sequence[FrozenCandidate]) -> FrozenCandidate:
    """Return the candidate with the lowest log loss; a slower one must be better by its price.

    Log loss notices more than accuracy, which changes in steps of one image (``benchmarks/frozen.py``).

    Args:
        candidates: At least one. Those cross-validated on fewer images than others, as they were given up early, are
            left out.
    """
    most = max(each.images for each in candidates)
    return min(
        (each for each in candidates if each.images == most),
        key=lambda each: (each.priced_loss, each.cost, each.features == ALL),
    )


def best_networks(candidates: Sequence[FrozenCandidate], count: int) -> list[tuple[str, int]]:
    """Return the networks of the best candidates, best first."""
    ranked = sorted(candidates, key=lambda each: each.priced_loss)
    return list(dict.fromkeys(each.network for each in ranked))[:count]


def reason(chosen: FrozenCandidate, candidates: Sequence[FrozenCandidate]) -> str:
    """Say why a candidate was chosen, in a sentence."""
    figures = f"log loss {chosen.log_loss:.3f}, accuracy {chosen.accuracy:.1%} on {chosen.images} training images"
    others = [each for each in candidates if each.images == chosen.images and each != chosen]
    if not others:
        return f"{chosen}: {figures}, cross-validated"
    lowest = min(others, key=lambda each: each.log_loss)
    second = f"{lowest}: {lowest.log_loss:.3f}, {lowest.accuracy:.1%}"
    if lowest.log_loss < chosen.log_loss:
        return f"{chosen} is as good within the noise as slower ones in cross-validation: {figures}; {second}"
    compared = f"of the {len(candidates)} frozen networks and features compared"
    return f"{chosen} is the best {compared} by cross-validation: {figures}; {second}"
