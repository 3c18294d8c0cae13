"""Measure how similar images are to ImageNet.

Two measures are used; neither needs ImageNet images. The packaged network's own classifier is more confident the more
an image looks like one of its thousand classes. And its BatchNorm layers hold the mean and deviation of every channel
over ImageNet: how far a dataset's activations are from them tells, stage by stage, how dissimilar its images are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.extractor import TOP, Taps
from tlkit.backbones.source_statistics import Source
from tlkit.words import plural

MIN_DEVIATION = 1e-3  # lower bound on the deviation of a channel, for channels that are nearly constant
# the two measures at input size 224, for images unlike ImageNet and for images of its classes; from
# benchmarks/similarity.py, which prints them for datasets, photos, noise and digits
CONFIDENCE = (0.10, 0.65)
DIVERGENCE = (0.55, 0.20)
SIMILAR, DISSIMILAR = 0.55, 0.30  # minimum score of "similar"; scores below the second are "dissimilar"
MAX_NAMED = 5  # most similar ImageNet classes shown
MIN_SHARE = 0.02  # minimum mean probability of a class shown

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Similarity:
    """Similarity of a dataset to ImageNet.

    Attributes:
        score: 0 (like noise) to 1 (images of ImageNet's own classes).
        level: "similar", "in between" or "dissimilar".
        confidence: Mean confidence of the ImageNet classifier, 0..1.
        divergence: By stage, root mean square distance of the channel means from ImageNet's, in standard deviations.
        classes: (ImageNet class, mean probability) of the most similar ImageNet classes.
        images: Number of images measured.
    """

    score: float
    level: str
    confidence: float
    divergence: dict[str, float]
    classes: tuple[tuple[str, float], ...]
    images: int

    @property
    def evidence(self) -> tuple[str, ...]:
        """The measurements behind the score, one sentence each."""
        named = ", ".join(f"{name} ({share:.0%})" for name, share in self.classes)
        farthest = max(self.divergence, key=lambda stage: self.divergence[stage])
        return (
            f"mean confidence of the ImageNet classifier on {plural(self.images, 'image')}: {self.confidence:.0%} "
            f"({CONFIDENCE[1]:.0%} on images of its own classes, {CONFIDENCE[0]:.0%} on noise and digits)",
            f"most similar ImageNet classes: {named or 'none in particular'}",
            f"distance of the activations from ImageNet's: {np.mean(list(self.divergence.values())):.2f} standard "
            f"deviations ({DIVERGENCE[1]:.2f} for everyday photos, {DIVERGENCE[0]:.2f} for noise and digits), largest "
            f"in {farthest} ({self.divergence[farthest]:.2f})",
        )


def judge_similarity(matrix: Array, taps: Taps, source: Source, names: Sequence[str]) -> Similarity:
    """Measure the similarity of images to ImageNet on the packaged network's features at its own input size.

    The confidence of the source classifier follows Hendrycks & Gimpel 2017, "A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples". BatchNorm statistics represent the source data as in Li et al. 2017, "Revisiting
    Batch Normalization For Practical Domain Adaptation". Each measure is scaled to 0..1 between two measured
    endpoints; the score is their mean.

    Args:
        matrix: Pooled features, float32 [n, columns], at least one row.
        taps: (name, width) of the taps that make up its columns.
        source: ImageNet statistics of the network.
        names: ImageNet class names.
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
    """Return the root mean square shift of the channel means, corrected for sampling noise."""
    scale = np.maximum(deviation, MIN_DEVIATION)
    shift = ((block.mean(axis=0) - mean) / scale) ** 2
    if len(block) > 1:
        shift = shift - (block.std(axis=0, ddof=1) / scale) ** 2 / len(block)
    return float(np.sqrt(max(0.0, float(shift.mean()))))


def level_of(score: float) -> str:
    """Return the level of a score: "similar", "in between" or "dissimilar"."""
    return "similar" if score >= SIMILAR else "dissimilar" if score < DISSIMILAR else "in between"


def _between(value: float, low: float, high: float) -> float:
    """Scale a value to 0..1 between two endpoints."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))
