"""What was said of every image, as a CSV file from which each figure can be computed again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from tlkit.evaluation.metrics import Floats

COLUMNS = ("file", "label", "answer", "probability", "correct", "unknown", "used")
PREFIX = "p:"  # before a class name, in the column of its probability


def image_table(
    files: Sequence[str],
    labels: Sequence[int],
    probabilities: Floats,
    unknown: Sequence[bool] | None,
    used: Sequence[str],
    classes: Sequence[str],
) -> str:
    """One line an image: `COLUMNS`, then the probability of every class under ``p:NAME``.

    Probabilities are written so that reading them gives the same numbers.

    Args:
        files: As shown.
        labels: Class indices [n].
        probabilities: float64 [n, classes], rows sum to 1.
        unknown: Whether each image is called unknown; None: that is not known, and the column stays empty.
        used: What training used each image for, or "".
        classes: Names.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(PREFIX + name for name in classes)])
    told = [""] * len(files) if unknown is None else [str(each).lower() for each in unknown]
    for file, label, row, strange, its in zip(files, labels, probabilities, told, used, strict=True):
        answer = int(row.argmax())
        values = [repr(float(value)) for value in row]
        right = str(answer == label).lower()
        writer.writerow([file, classes[label], classes[answer], values[answer], right, strange, its, *values])
    return text.getvalue()
