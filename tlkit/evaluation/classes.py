"""Metrics by class, confusion matrix and most common mix-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.evaluation.metrics import Floats, measure, wilson_interval

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassFigures:
    """Metrics of one class.

    Attributes:
        name: Class name.
        precision: Share of the images predicted as this class that belong to it, 0..1; 0 if there are none.
        recall: Share of the class's images predicted correctly, 0..1; 0 if it has no images.
        recall_ci95: 95% Wilson interval of the recall; None if the class has no images.
        f1: Harmonic mean of precision and recall.
        support: Number of images of the class.
    """

    name: str
    precision: float
    recall: float
    recall_ci95: tuple[float, float] | None
    f1: float
    support: int


@dataclass(frozen=True)
class ConfusedPair:
    """A mix-up: images of one class predicted as another.

    Attributes:
        actual: The true class.
        answer: The predicted class.
        count: Number of images.
        share: Share of the true class's images, 0..1.
    """

    actual: str
    answer: str
    count: int
    share: float


def confusion(probabilities: Floats, labels: Sequence[int]) -> Counts:
    """Return the confusion matrix, int64 [classes, classes]: true class (row) by predicted class (column)."""
    from sklearn.metrics import confusion_matrix

    classes = np.arange(probabilities.shape[1])
    return np.asarray(confusion_matrix(labels, probabilities.argmax(axis=1), labels=classes), dtype=np.int64)


def class_figures(probabilities: Floats, labels: Sequence[int], names: Sequence[str]) -> list[ClassFigures]:
    """Compute the metrics of every class, in the order of the names.

    Args:
        probabilities: [n, classes].
        labels: Class indices [n].
        names: Class names.
    """
    from sklearn.metrics import precision_recall_fscore_support

    answers = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, answers, labels=np.arange(len(names)), zero_division=0
    )
    right = np.diag(confusion(probabilities, labels))
    return [
        ClassFigures(
            name=name,
            precision=float(precision[i]),
            recall=float(recall[i]),
            recall_ci95=wilson_interval(int(right[i]), int(support[i])) if support[i] else None,
            f1=float(f1[i]),
            support=int(support[i]),
        )
        for i, name in enumerate(names)
    ]


def most_confused(matrix: Counts, names: Sequence[str], max_pairs: int = 5) -> list[ConfusedPair]:
    """Return the most common mix-ups, ordered by count, then by share.

    Args:
        matrix: Confusion matrix from `confusion`.
        names: Class names.
        max_pairs: Maximum number of pairs.
    """
    support = matrix.sum(axis=1)
    found = [
        ConfusedPair(names[i], names[j], int(matrix[i, j]), float(matrix[i, j] / support[i]))
        for i, j in np.argwhere(matrix > 0)
        if i != j
    ]
    return sorted(found, key=lambda each: (-each.count, -each.share, each.actual, each.answer))[:max_pairs]


def figures(probabilities: Floats, labels: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    """Return all metrics as plain data: overall, by class, the confusion matrix and the most common mix-ups.

    Args:
        probabilities: [n, classes], rows sum to 1.
        labels: Class indices [n], n at least 1.
        classes: Class names.
    """
    matrix = confusion(probabilities, labels)
    return {
        **asdict(measure(probabilities, labels)),
        "classes": list(classes),
        "per_class": [
            {"class": each.name, **{name: value for name, value in asdict(each).items() if name != "name"}}
            for each in class_figures(probabilities, labels, classes)
        ],
        "confusion_matrix": matrix.tolist(),
        "most_confused": [asdict(each) for each in most_confused(matrix, classes)],
    }
