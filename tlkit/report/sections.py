"""What several pages show of a classifier's answers: figures by class, confusion, reliability, images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlkit.report.plots import confusion_map, interval_bars, reliability_diagram
from tlkit.report.thumbnails import Shown

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_BARS = 60  # classes that are drawn; with more, the table alone says it


@dataclass(frozen=True)
class Sections:
    """Of one set of images.

    Attributes:
        found: Figures, as `tlkit.evaluation.classes.figures` gives them.
        bars: Recall by class, drawn; None where there is too much or nothing to compare.
        matrix: Confusion, drawn; None where classes are too many.
        reliability: Accuracy against confidence, drawn.
        mistakes: Images with a wrong answer, the surest first.
        doubtful: Images with a right answer, the least sure first.
        located: Whether the images show where the class is seen.
    """

    found: dict[str, Any]
    bars: Markup | None
    matrix: Markup | None
    reliability: Markup
    mistakes: Sequence[Shown]
    doubtful: Sequence[Shown]
    located: bool = False


def draw_sections(
    found: dict[str, Any],
    reliability: Sequence[tuple[float, float, int]],
    mistakes: Sequence[Shown],
    doubtful: Sequence[Shown],
    located: bool = False,
) -> Sections:
    """Draw what can be drawn.

    Args:
        found: As for `Sections`.
        reliability: As `tlkit.evaluation.metrics.reliability` gives it.
        mistakes: As for `Sections`.
        doubtful: As for `Sections`.
        located: As for `Sections`.
    """
    bars = matrix = None
    rows = [row for row in found["per_class"] if row["support"]]
    if 1 < len(rows) <= MAX_BARS:
        lows, highs = ([row["recall_ci95"][end] for row in rows] for end in (0, 1))
        bars = interval_bars([row["class"] for row in rows], [row["recall"] for row in rows], lows, highs, None)
    if len(found["classes"]) <= MAX_BARS:
        matrix = confusion_map(found["confusion_matrix"], found["classes"])
    return Sections(found, bars, matrix, reliability_diagram(reliability), mistakes, doubtful, located)
