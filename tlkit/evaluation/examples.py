"""Choose images worth a look: the most confident mistakes and the least certain correct predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkit.evaluation.metrics import Floats

DOUBT = 0.4  # gap between the two most probable classes, below which a prediction is in doubt


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


def most_doubtful(
    probabilities: Floats, labels: Sequence[int], max_images: int, max_margin: float = DOUBT
) -> list[int]:
    """Return correctly classified images with a small gap between the top two classes, smallest first.

    Args:
        probabilities: [n, classes], at least two classes.
        labels: Class indices [n].
        max_images: Maximum number of images.
        max_margin: Largest gap that still counts as doubt, 0..1.
    """
    best = np.sort(probabilities, axis=1)[:, -2:]
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    margin = best[:, 1] - best[:, 0]
    order = np.argsort(margin, kind="stable")
    return [int(index) for index in order if right[index] and margin[index] <= max_margin][:max_images]
