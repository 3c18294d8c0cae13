"""Predictions for every image as CSV; all metrics can be recomputed from it."""

from __future__ import annotations

from collections.abc import Sequence

from tlkit.csvtext import line
from tlkit.evaluation.metrics import Floats

COLUMNS = ("file", "label", "answer", "probability", "correct", "unknown", "used")
PREFIX = "p:"  # prefix of the column with a class's probability


def image_table(
    files: Sequence[str],
    labels: Sequence[int],
    probabilities: Floats,
    unknown: Sequence[bool] | None,
    used: Sequence[str],
    classes: Sequence[str],
    *,
    raw: bool = False,
) -> str:
    """Return one line per image: `COLUMNS`, then the probability of every class under ``p:NAME``.

    Probabilities are written with enough digits to read back the same numbers.

    Args:
        files: File names as displayed.
        labels: Class indices [n].
        probabilities: float64 [n, classes], rows sum to 1.
        unknown: Whether each image is called unknown; None: not determined, and the column stays empty.
        used: The split each image had in training, or "".
        classes: Class names.
        raw: Whether to leave cells that begin like a formula as they are; see `tlkit.csvtext`.
    """
    lines = [line([*COLUMNS, *(PREFIX + name for name in classes)], raw=raw)]
    flags = [""] * len(files) if unknown is None else [str(each).lower() for each in unknown]
    for file, label, row, flag, split in zip(files, labels, probabilities, flags, used, strict=True):
        answer = int(row.argmax())
        values = [repr(float(value)) for value in row]
        right = str(answer == label).lower()
        cells = [file, classes[label], classes[answer], values[answer], right, flag, split, *values]
        lines.append(line(cells, raw=raw))
    return "".join(lines)
