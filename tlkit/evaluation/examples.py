"""Choose images worth a look: the most confident mistakes and the least certain correct predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkit.evaluation.metrics import Floats


def worst_mistakes(probabilities: Floats, labels: Sequence[int], max_images: int) -> list[int]:
    """Return misclassified images, most confident first; wrong labels are often among them.

    Args:
        probabilities: [n, classes], rows sum to 1.
        labels: Class indices [n].
        max_images: Maximum number of images.
    """
    wrong = probabilities.argmax(axis=1) != np.asarray(labels)
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    return [int(index) for index in order if wrong[index]][:max_images]


def most_doubtful(probabilities: Floats, labels: Sequence[int], max_images: int) -> list[int]:
    """Return correctly classified images with the smallest gap between the top two classes, smallest first.

    Args:
        probabilities: [n, classes], at least two classes.
        labels: Class indices [n].
        max_images: Maximum number of images.
    """
    best = np.sort(probabilities, axis=1)[:, -2:]
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    order = np.argsort(best[:, 1] - best[:, 0], kind="stable")
    return [int(index) for index in order if right[index]][:max_images]
