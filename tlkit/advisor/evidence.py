"""The measurements behind the advisor's rule, as plain numbers."""

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
    """Measurements on the training images of a dataset. Accuracies are cross-validated, 0..1.

    Attributes:
        images: Number of training images.
        classes: Number of classes.
        per_class: Training images of the median class.
        input_size: Side of the network's input in pixels.
        chance: Share of the largest class.
        head: Accuracy of the frozen network's own head, with the features chosen.
        head_images: Number of training images that this was cross-validated on.
        last: Accuracy of a head on the features of the top.
        together: Accuracy of a head on the features of all stages.
        early: Accuracy of a head on the features of the best early or middle stage.
        early_stage: Name of that stage.
        neighbours: Accuracy of nearest neighbours in the features of the top.
        half: Accuracy of a head on the top, trained on half of the images.
        quarter: Accuracy of a head on the top, trained on a quarter of the images.
        noise: Standard error of ``last``.
        similarity: Similarity to ImageNet, 0..1.
        confidence: Mean confidence of the ImageNet classifier, 0..1.
        divergence: Divergence of the activations from ImageNet's, mean over the stages.
        mirrored: Change in the accuracy of a head on the top if images are mirrored; 0 if there were too few images to
            measure it.
        pilot: Result of a pilot, see `tlkit.advisor.pilot.Pilot.gain`; None without a pilot.
    """

    images: int
    classes: int
    per_class: float
    input_size: int
    chance: float
    head: float
    head_images: int
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
        """Return plain data."""
        return asdict(self)


def gather(
    probes: Probes,
    similarity: Similarity,
    flips: Flips,
    per_class: Sequence[int],
    input_size: int,
    head: tuple[float, int],
) -> Evidence:
    """Collect the results of probes, similarity and flip check.

    Args:
        probes: Probes on the training images.
        similarity: Similarity to ImageNet of a sample of them.
        flips: Flip check on a sample of them.
        per_class: Number of training images of each class.
        input_size: Side of the network's input in pixels.
        head: Cross-validated accuracy of the frozen network's own head, and the number of training images it was
            measured on.
    """
    curve = dict(probes.curve)
    numbers = {
        "chance": probes.chance,
        "head": head[0],
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
        head_images=head[1],
        early_stage=probes.best_early.name,
        **{name: round(float(value), 5) for name, value in numbers.items()},
    )
