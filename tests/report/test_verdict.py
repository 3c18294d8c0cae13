"""What a page says first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlkit.evaluation.classes import figures
from tlkit.evaluation.metrics import exact, reliability
from tlkit.report.sections import MIN_IMAGES, Sections, draw_sections
from tlkit.report.thumbnails import ExampleImage
from tlkit.report.verdict import against_prediction, next_steps, right_on, weak_classes, weakest


@pytest.mark.parametrize(
    ("accuracy", "low", "high", "said"),
    [
        (0.73, 0.63, 0.83, "Right on about 7 of 10 images (63 to 83%)."),
        (0.849, 0.823, 0.871, "Right on about 85 of 100 images (82 to 87%)."),
        (0.998, 0.99, 1.0, "Right on nearly all images (99 to 100%)."),
        (1.0, 0.84, 1.0, "Right on all images it was tried on (84 to 100%)."),
        (0.02, 0.0, 0.18, "Right on fewer than 1 of 10 images (0 to 18%)."),
    ],
)
def test_an_accuracy_as_a_count(accuracy: float, low: float, high: float, said: str) -> None:
    assert right_on(accuracy, low, high) == said


def test_a_result_far_from_the_prediction_is_said() -> None:
    assert against_prediction(0.7, None) == ""
    low = against_prediction(0.7, (0.82, 0.75, 0.9))
    assert low.startswith("12 percentage points below the prediction: 82% (90% interval 75 to 90%)")
    assert "outside" in low
    assert against_prediction(0.83, (0.82, 0.75, 0.9)).startswith("As predicted")
    assert against_prediction(0.87, (0.82, 0.75, 0.9)).startswith("5 percentage points above")


def judged(wrong: int, of: int = 30) -> tuple[dict[str, Any], Sections]:
    """Three classes of ``of`` images each; ``wrong`` images of the last are taken for the first."""
    labels = np.repeat(np.arange(3), of)
    values = np.full((3 * of, 3), 0.01)
    values[np.arange(3 * of), labels] = 0.98
    values[2 * of : 2 * of + wrong] = [0.98, 0.01, 0.01]
    probabilities = exact(values)
    found = figures(probabilities, labels.tolist(), ["ant", "bee", "cat"]) | {"unknown_share": None}
    mistakes = [ExampleImage("1.jpg", "", "cat", "ant", 0.98)] if wrong else []
    return found, draw_sections(found, reliability(probabilities, labels), mistakes, ())


def test_the_weakest_class_and_what_to_do_about_it() -> None:
    found, sections = judged(20)
    assert weakest(found) == "Weakest class: cat, right on 10 of 30 images."
    assert [row["class"] for row in weak_classes(found)] == ["cat"]
    steps = next_steps(found, sections)
    assert steps[0].startswith("check the labels")
    assert steps[1].startswith("add images of cat: its recall is 33%")
    assert steps[2].startswith("compare cat and ant")
    assert [row["class"] for row in sections.weakest_first] == ["cat", "ant", "bee"]


def test_one_mistake_is_no_weakness() -> None:
    found, sections = judged(1)
    assert "too few to tell it from the others" in weakest(found)
    assert weak_classes(found) == []
    assert not any(step.startswith(("add", "compare")) for step in next_steps(found, sections))
    assert weakest(judged(0)[0]) == ""


def test_no_curve_from_a_handful_of_images() -> None:
    assert judged(2, of=(MIN_IMAGES - 1) // 3)[1].reliability is None
    assert judged(2, of=MIN_IMAGES)[1].reliability is not None
