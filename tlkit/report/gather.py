"""Gather the figures and example images that a page shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.evaluation.examples import most_doubtful, worst_mistakes
from tlkit.evaluation.metrics import Floats, reliability
from tlkit.images.batches import load_image
from tlkit.report.sections import Sections, draw_sections
from tlkit.report.thumbnails import ExampleImage, thumbnail

if TYPE_CHECKING:
    from tlkit.evaluation.grad_cam import ClassMaps

MAX_SHOWN = 12  # images in each gallery


def sections_of(
    found: dict[str, Any],
    probabilities: Floats,
    labels: Sequence[int],
    files: Sequence[tuple[str, Path]],
    locate: ClassMaps | None,
    size: tuple[int, int],
) -> Sections:
    """Draw the plots and example images for one set of predictions.

    Args:
        found: Its metrics, from `tlkit.evaluation.classes.figures`.
        probabilities: float64 [n, classes], rows sum to 1.
        labels: Class indices [n].
        files: (name to show, path) of each image.
        locate: Finds where a class is seen; None: do not draw that.
        size: (height, width) of the network's input in pixels.
    """

    def shown(indices: Sequence[int]) -> list[ExampleImage]:
        answers = probabilities.argmax(axis=1)
        return [
            ExampleImage(
                file=files[i][0],
                image=_drawn(files[i][1], int(answers[i]), locate, size),
                actual=found["classes"][labels[i]],
                answer=found["classes"][answers[i]],
                probability=float(probabilities[i].max()),
            )
            for i in indices
        ]

    mistakes = shown(worst_mistakes(probabilities, labels, MAX_SHOWN))
    doubtful = shown(most_doubtful(probabilities, labels, MAX_SHOWN))
    return draw_sections(found, reliability(probabilities, labels), mistakes, doubtful, locate is not None)


def _drawn(path: Path, answer: int, locate: ClassMaps | None, size: tuple[int, int]) -> str:
    """Make a thumbnail, with the place where its predicted class is seen, if known."""
    small = load_image(path, size).image if locate is not None else None
    if locate is None or small is None:
        return thumbnail(path)
    return thumbnail(path, locate(small.pixels[None], np.array([answer]))[0])
