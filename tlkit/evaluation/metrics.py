"""Metrics of class probabilities against true labels, and their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Metrics:
    """What a set of pictures says about a classifier.

    Attributes:
        images: How many pictures.
        accuracy: Share whose most probable class is right, 0..1.
        accuracy_ci95: Wilson interval of it at 95%.
        log_loss: Mean negative log probability of the true class, nats.
        macro_f1: Mean F1 over the classes present among labels or answers.
        balanced_accuracy: Mean recall over the classes present among the labels.
    """

    images: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    log_loss: float
    macro_f1: float
    balanced_accuracy: float

    def to_json(self, prefix: str) -> dict[str, Any]:
        """The figures with ``prefix`` ("val_") before each name."""
        return {
            f"{prefix}accuracy": self.accuracy,
            f"{prefix}accuracy_ci95": list(self.accuracy_ci95),
            f"{prefix}loss": self.log_loss,
            f"{prefix}macro_f1": self.macro_f1,
            f"{prefix}balanced_accuracy": self.balanced_accuracy,
        }


def measure(probabilities: NDArray[np.floating[Any]], labels: Sequence[int]) -> Metrics:
    """Metrics of probabilities [n, classes] against class indices [n], n at least 1."""
    from sklearn.metrics import f1_score, recall_score

    truth = np.asarray(labels, dtype=np.int64)
    answers = probabilities.argmax(axis=1)
    hits = int((answers == truth).sum())
    of_truth = np.clip(probabilities[np.arange(len(truth)), truth].astype(np.float64), 1e-7, 1.0)
    present = np.unique(truth)
    recall = recall_score(truth, answers, labels=present, average="macro", zero_division=0)
    return Metrics(
        images=len(truth),
        accuracy=hits / len(truth),
        accuracy_ci95=wilson_interval(hits, len(truth)),
        log_loss=float(-np.log(of_truth).mean()),
        macro_f1=float(f1_score(truth, answers, average="macro", zero_division=0)),
        balanced_accuracy=float(recall),
    )


def wilson_interval(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927), which stays within 0..1 and holds for few pictures."""
    from scipy.stats import binomtest

    interval = binomtest(hits, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def majority_accuracy(train_labels: Sequence[int], labels: Sequence[int], classes: int) -> float:
    """Accuracy on ``labels`` of always answering the most frequent class of ``train_labels``."""
    majority = int(np.bincount(np.asarray(train_labels), minlength=classes).argmax())
    return float(np.mean(np.asarray(labels) == majority))
