"""Which images are worth a look: those a classifier is surest and wrong about, and those it doubts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkit.evaluation.metrics import Floats


def worst_mistakes(probabilities: Floats, labels: Sequence[int], most: int) -> list[int]:
    """Images with a wrong answer, the surest first: wrong labels are often among them.

    Args:
        probabilities: [n, classes], rows sum to 1.
        labels: Class indices [n].
        most: How many at most.
    """
    wrong = probabilities.argmax(axis=1) != np.asarray(labels)
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    return [int(index) for index in order if wrong[index]][:most]


def most_doubtful(probabilities: Floats, labels: Sequence[int], most: int) -> list[int]:
    """Images with a right answer whose two most probable classes are closest, the closest first.

    Args:
        probabilities: [n, classes], at least two classes.
        labels: Class indices [n].
        most: How many at most.
    """
    best = np.sort(probabilities, axis=1)[:, -2:]
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    order = np.argsort(best[:, 1] - best[:, 0], kind="stable")
    return [int(index) for index in order if right[index]][:most]
