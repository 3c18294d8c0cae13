"""Where a classifier goes wrong: figures of every class, and which it takes for which."""

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
    """One class.

    Attributes:
        name: Of the class.
        precision: Share of the images called so that are, 0..1; 0 where none was called so.
        recall: Share of its images that were called so, 0..1; 0 where it has none.
        recall_ci95: Wilson interval of the recall at 95%; None where the class has no images.
        f1: Harmonic mean of both.
        support: Its images.
    """

    name: str
    precision: float
    recall: float
    recall_ci95: tuple[float, float] | None
    f1: float
    support: int


@dataclass(frozen=True)
class Confused:
    """Images of one class that were taken for another.

    Attributes:
        actual: The class they are.
        answer: The class they were called.
        count: How many.
        share: Of the images of their class, 0..1.
    """

    actual: str
    answer: str
    count: int
    share: float


def confusion(probabilities: Floats, labels: Sequence[int]) -> Counts:
    """int64 [classes, classes]: images by class (row) and answer (column)."""
    from sklearn.metrics import confusion_matrix

    classes = np.arange(probabilities.shape[1])
    return np.asarray(confusion_matrix(labels, probabilities.argmax(axis=1), labels=classes), dtype=np.int64)


def class_figures(probabilities: Floats, labels: Sequence[int], names: Sequence[str]) -> list[ClassFigures]:
    """Figures of every class, in the order of the names.

    Args:
        probabilities: [n, classes].
        labels: Class indices [n].
        names: Of the classes.
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


def most_confused(matrix: Counts, names: Sequence[str], most: int = 5) -> list[Confused]:
    """The pairs of classes with the most mistakes, by count, of equal ones by share.

    Args:
        matrix: As `confusion` gives it.
        names: Of the classes.
        most: Pairs at most.
    """
    support = matrix.sum(axis=1)
    found = [
        Confused(names[i], names[j], int(matrix[i, j]), float(matrix[i, j] / support[i]))
        for i, j in np.argwhere(matrix > 0)
        if i != j
    ]
    return sorted(found, key=lambda each: (-each.count, -each.share, each.actual, each.answer))[:most]


def figures(probabilities: Floats, labels: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    """All figures as plain data: those of `measure`, of each class, the confusion matrix and the most confused pairs.

    Args:
        probabilities: [n, classes], rows sum to 1.
        labels: Class indices [n], n at least 1.
        classes: Names.
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
