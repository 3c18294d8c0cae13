"""All that the advisor's rule looks at, as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlkit.advisor.probes import Probes
    from tlkit.advisor.similarity import Similarity
    from tlkit.plan.plan import Flips


@dataclass(frozen=True)
class Evidence:
    """What was measured on a data set's training images; accuracies are 0..1, of cross-validated heads.

    Attributes:
        images: Training images.
        classes: Classes.
        per_class: Training images of the median class.
        input_size: Side of the network's input in pixels.
        chance: Share of the largest class.
        last: Accuracy of a head on the top's features.
        together: Of one on all stages' features.
        early: Of one on the best early or middle stage's.
        early_stage: Which one that is.
        neighbours: Of the nearest neighbours in the top's features.
        half: Of a head on the top's features that has seen half of the images.
        quarter: Of one that has seen a quarter.
        noise: Standard error of ``last``.
        similarity: To ImageNet, 0..1.
        confidence: Of the ImageNet classifier, 0..1.
        divergence: Of the activations from ImageNet's, mean over the stages.
        mirrored: Share of some images that a head on the top's features gets right mirrored, less that of the same
            images plain; 0 where too few could be looked at.
        pilot: What a pilot found, see `tlkit.advisor.pilot.Pilot.gain`; None: there was none.
    """

    images: int
    classes: int
    per_class: float
    input_size: int
    chance: float
    last: float
    together: float
    early: float
    early_stage: str
    neighbours: float
    half: float
    quarter: float
    noise: float
    similarity: float
    confidence: float
    divergence: float
    mirrored: float = 0.0
    pilot: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def gather(probes: Probes, similarity: Similarity, flips: Flips, per_class: Sequence[int], input_size: int) -> Evidence:
    """The numbers of probes, similarity and mirrored images.

    Args:
        probes: On the training images.
        similarity: Of some of them.
        flips: Of some of them, mirrored.
        per_class: Training images of each class.
        input_size: Side of the network's input in pixels.
    """
    curve = dict(probes.curve)
    numbers = {
        "chance": probes.chance,
        "last": probes.last.accuracy,
        "together": probes.together.accuracy,
        "early": probes.best_early.accuracy,
        "neighbours": probes.neighbours,
        "half": curve[0.5],
        "quarter": curve[0.25],
        "noise": probes.noise,
        "similarity": similarity.score,
        "confidence": similarity.confidence,
        "mirrored": flips.mirrored - flips.plain,
        "divergence": sum(similarity.divergence.values()) / len(similarity.divergence),
    }
    return Evidence(
        images=probes.images,
        classes=probes.classes,
        per_class=float(median(per_class)),
        input_size=input_size,
        early_stage=probes.best_early.name,
        **{name: round(float(value), 5) for name, value in numbers.items()},
    )
