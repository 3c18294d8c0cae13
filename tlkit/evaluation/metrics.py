"""Metrics of class probabilities against true labels, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
TOP = 5
BINS = 15  # confidence bins, as in Guo et al. 2017


@dataclass(frozen=True)
class Metrics:
    """Metrics of a classifier on a set of images.

    Attributes:
        images: Number of images.
        accuracy: Top-1 accuracy, 0..1.
        accuracy_ci95: 95% Wilson interval of the accuracy.
        top5_accuracy: Share of images whose class is among the five most probable ones, 0..1.
        balanced_accuracy: Mean recall over the classes present in the labels.
        macro_f1: Mean F1 over the classes present in labels or predictions.
        log_loss: Mean negative log probability of the true class, nats.
        ece: Expected calibration error, 0..1; see `calibration_error`.
    """

    images: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    top5_accuracy: float
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    ece: float

    def to_json(self, prefix: str) -> dict[str, Any]:
        """Return the metrics that ``train`` reports, with ``prefix`` ("val_") before each name."""
        return {
            f"{prefix}accuracy": self.accuracy,
            f"{prefix}accuracy_ci95": list(self.accuracy_ci95),
            f"{prefix}loss": self.log_loss,
            f"{prefix}macro_f1": self.macro_f1,
            f"{prefix}balanced_accuracy": self.balanced_accuracy,
            f"{prefix}ece": self.ece,
        }


def exact(probabilities: Floats) -> NDArray[np.float64]:
    """Return probabilities [n, classes] as float64 with rows that sum to 1; all metrics are computed from these."""
    values = np.asarray(probabilities, dtype=np.float64)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def measure(probabilities: Floats, labels: Sequence[int]) -> Metrics:
    """Compute the metrics of probabilities [n, classes] against class indices [n], n at least 1."""
    from sklearn.metrics import f1_score, log_loss, recall_score, top_k_accuracy_score

    values, truth = exact(probabilities), np.asarray(labels, dtype=np.int64)
    classes = np.arange(values.shape[1])
    answers = values.argmax(axis=1)
    hits = int((answers == truth).sum())
    few = len(classes) <= TOP
    return Metrics(
        images=len(truth),
        accuracy=hits / len(truth),
        accuracy_ci95=wilson_interval(hits, len(truth)),
        top5_accuracy=1.0 if few else float(top_k_accuracy_score(truth, values, k=TOP, labels=classes)),
        balanced_accuracy=float(
            recall_score(truth, answers, labels=np.unique(truth), average="macro", zero_division=0)
        ),
        macro_f1=float(f1_score(truth, answers, average="macro", zero_division=0)),
        log_loss=float(log_loss(truth, values, labels=classes)),
        ece=calibration_error(values, truth),
    )


def calibration_error(probabilities: Floats, labels: Sequence[int] | NDArray[np.int64]) -> float:
    """Compute the expected calibration error (ECE): the mean gap between confidence and accuracy, 0..1.

    Guo et al. 2017, "On Calibration of Modern Neural Networks": images are put into `BINS` equal-width bins by the
    largest probability; the gaps of the bins are averaged, weighted by their number of images.

    Args:
        probabilities: [n, classes], rows sum to 1.
        labels: Class indices [n], n at least 1.
    """
    total = 0.0
    for confidence, accuracy, count in reliability(probabilities, labels):
        total += count * abs(confidence - accuracy)
    return total / len(labels)


def reliability(probabilities: Floats, labels: Sequence[int] | NDArray[np.int64]) -> list[tuple[float, float, int]]:
    """Return (mean confidence, accuracy, images) of every non-empty confidence bin, from low to high."""
    sure = np.asarray(probabilities.max(axis=1), dtype=np.float64)
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    place = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    rows = []
    for number in np.unique(place):
        chosen = place == number
        rows.append((float(sure[chosen].mean()), float(right[chosen].mean()), int(chosen.sum())))
    return rows


def wilson_interval(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson interval of a proportion (Wilson 1927); it stays within 0..1 and is valid for few images."""
    from scipy.stats import binomtest

    interval = binomtest(hits, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def majority_accuracy(train_labels: Sequence[int], labels: Sequence[int], classes: int) -> float:
    """Return the accuracy on ``labels`` of always predicting the most frequent class of ``train_labels``."""
    majority = int(np.bincount(np.asarray(train_labels), minlength=classes).argmax())
    return float(np.mean(np.asarray(labels) == majority))
