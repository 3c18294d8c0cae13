"""How much images resemble those that ImageNet networks were trained on.

Two things tell, and neither needs an image of ImageNet. The packaged network's own classifier is surer the more a
image looks like one of its thousand classes. And its BatchNorm layers know mean and deviation of every channel over
ImageNet: how far a data set's activations lie from them says how unlike its images are, stage by stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.extractor import TOP, Taps
from tlkit.backbones.source_statistics import Source

MIN_DEVIATION = 1e-3  # of a channel, below which it is as good as constant
# Where the two figures lie at input size 224 for images that are nothing to ImageNet and for images of its classes;
# measured by benchmarks/similarity.py, which prints them for data sets, photographs, noise and digits.
CONFIDENCE = (0.10, 0.65)
DIVERGENCE = (0.55, 0.20)
SIMILAR, DISSIMILAR = 0.55, 0.30  # scores from which on, and below which, a data set is called so
MAX_NAMED = 5  # ImageNet classes named as evidence
MIN_SHARE = 0.02  # of the probability, for a class to be named

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Similarity:
    """How much a data set resembles ImageNet.

    Attributes:
        score: 0 (like noise) to 1 (images of ImageNet's own classes).
        level: "similar", "in between" or "dissimilar".
        confidence: Mean of the highest probability that the ImageNet classifier gives, 0..1.
        divergence: By stage, how far the channels' means lie from ImageNet's: root mean square, in its deviations.
        classes: (ImageNet class, mean probability) of those that the images resemble most.
        images: How many were looked at.
    """

    score: float
    level: str
    confidence: float
    divergence: dict[str, float]
    classes: tuple[tuple[str, float], ...]
    images: int

    @property
    def evidence(self) -> tuple[str, ...]:
        """What the score stands on, one sentence each."""
        named = ", ".join(f"{name} ({share:.0%})" for name, share in self.classes)
        farthest = max(self.divergence, key=lambda stage: self.divergence[stage])
        return (
            f"the ImageNet classifier is {self.confidence:.0%} sure of its best guess on average "
            f"({CONFIDENCE[1]:.0%} on images of its own classes, {CONFIDENCE[0]:.0%} on noise and digits)",
            f"the images remind it of: {named}" if named else "they remind it of none of its classes in particular",
            f"activations lie {np.mean(list(self.divergence.values())):.2f} of ImageNet's standard deviations from its "
            f"means ({DIVERGENCE[1]:.2f} for everyday photographs, {DIVERGENCE[0]:.2f} for noise and digits), farthest "
            f"in {farthest} ({self.divergence[farthest]:.2f})",
        )


def judge_similarity(matrix: Array, taps: Taps, source: Source, names: Sequence[str]) -> Similarity:
    """Similarity of images to ImageNet, from the packaged network's features at its own input size.

    Confidence of the source classifier follows Hendrycks & Gimpel 2017, "A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples". Statistics of BatchNorm as an image of the source data are used in Li et al. 2017,
    "Revisiting Batch Normalization For Practical Domain Adaptation". Each is put on a scale of 0 to 1 between two
    measured ends, and the score is their mean.

    Args:
        matrix: Pooled features, float32 [n, columns], at least one row.
        taps: (name, width) of the blocks of its columns.
        source: What the network knows of ImageNet.
        names: Of the ImageNet classes.
    """
    divergence: dict[str, float] = {}
    start = 0
    for name, width in taps:
        block = matrix[:, start : start + width]
        divergence[name] = round(_divergence(block, *source.moments[name]), 4)
        if name == TOP:
            shares = source.probabilities(block)
        start += width
    confidence = float(shares.max(axis=1).mean())
    mean_share = shares.mean(axis=0)
    ranked = np.argsort(-mean_share, kind="stable")[:MAX_NAMED]
    parts = (
        _between(confidence, *CONFIDENCE),
        _between(float(np.mean(list(divergence.values()))), *DIVERGENCE),
    )
    score = round(sum(parts) / len(parts), 3)
    return Similarity(
        score=score,
        level=level_of(score),
        confidence=round(confidence, 4),
        divergence=divergence,
        classes=tuple((names[i], float(mean_share[i])) for i in ranked if mean_share[i] >= MIN_SHARE),
        images=len(matrix),
    )


def _divergence(block: Array, mean: Array, deviation: Array) -> float:
    """Root mean square shift of the channels' means, less what so few images stray from their own mean by chance."""
    scale = np.maximum(deviation, MIN_DEVIATION)
    shift = ((block.mean(axis=0) - mean) / scale) ** 2
    if len(block) > 1:
        shift = shift - (block.std(axis=0, ddof=1) / scale) ** 2 / len(block)
    return float(np.sqrt(max(0.0, float(shift.mean()))))


def level_of(score: float) -> str:
    """A score in words."""
    return "similar" if score >= SIMILAR else "dissimilar" if score < DISSIMILAR else "in between"


def _between(value: float, low: float, high: float) -> float:
    """Where a value lies between two ends, 0..1."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))
