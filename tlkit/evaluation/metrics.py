"""Metrics of class probabilities against true labels, and their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
TOP = 5
BINS = 15  # of confidence, as in Guo et al. 2017


@dataclass(frozen=True)
class Metrics:
    """What a set of images says about a classifier.

    Attributes:
        images: How many images.
        accuracy: Share whose most probable class is right (top-1), 0..1.
        accuracy_ci95: Wilson interval of it at 95%.
        top5_accuracy: Share whose class is among the five most probable ones, 0..1.
        balanced_accuracy: Mean recall over the classes present among the labels.
        macro_f1: Mean F1 over the classes present among labels or answers.
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
        """The figures of ``train`` with ``prefix`` ("val_") before each name."""
        return {
            f"{prefix}accuracy": self.accuracy,
            f"{prefix}accuracy_ci95": list(self.accuracy_ci95),
            f"{prefix}loss": self.log_loss,
            f"{prefix}macro_f1": self.macro_f1,
            f"{prefix}balanced_accuracy": self.balanced_accuracy,
            f"{prefix}ece": self.ece,
        }


def exact(probabilities: Floats) -> NDArray[np.float64]:
    """Probabilities [n, classes] as float64 whose rows sum to 1: what every figure is computed from."""
    values = np.asarray(probabilities, dtype=np.float64)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def measure(probabilities: Floats, labels: Sequence[int]) -> Metrics:
    """Metrics of probabilities [n, classes] against class indices [n], n at least 1; scikit-learn's but for ECE."""
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
    """Expected calibration error: how far confidence and accuracy are apart, 0..1.

    Guo et al. 2017, "On Calibration of Modern Neural Networks": images are put into `BINS` equal bins by the largest
    probability; the distances between mean confidence and accuracy of the bins, weighed by their images.

    Args:
        probabilities: [n, classes], rows sum to 1.
        labels: Class indices [n], n at least 1.
    """
    total = 0.0
    for confidence, accuracy, count in reliability(probabilities, labels):
        total += count * abs(confidence - accuracy)
    return total / len(labels)


def reliability(probabilities: Floats, labels: Sequence[int] | NDArray[np.int64]) -> list[tuple[float, float, int]]:
    """(mean confidence, accuracy, images) of every bin of confidence that has images, from low to high."""
    sure = np.asarray(probabilities.max(axis=1), dtype=np.float64)
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    place = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    rows = []
    for number in np.unique(place):
        chosen = place == number
        rows.append((float(sure[chosen].mean()), float(right[chosen].mean()), int(chosen.sum())))
    return rows


def wilson_interval(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927), which stays within 0..1 and holds for few images."""
    from scipy.stats import binomtest

    interval = binomtest(hits, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def majority_accuracy(train_labels: Sequence[int], labels: Sequence[int], classes: int) -> float:
    """Accuracy on ``labels`` of always answering the most frequent class of ``train_labels``."""
    majority = int(np.bincount(np.asarray(train_labels), minlength=classes).argmax())
    return float(np.mean(np.asarray(labels) == majority))
