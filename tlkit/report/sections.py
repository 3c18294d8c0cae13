"""Sections that several pages share: metrics by class, confusion matrix, calibration, example images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlkit.report.plots import confusion_map, interval_bars, reliability_diagram
from tlkit.report.thumbnails import ExampleImage

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_BARS = 60  # classes in a plot; with more there is only the table
MIN_IMAGES = 40  # images, below which curves show noise


@dataclass(frozen=True)
class Sections:
    """Metrics, plots and example images for one set of predictions.

    Attributes:
        found: Metrics, from `tlkit.evaluation.classes.figures`.
        bars: Plot of recall by class, the weakest first; None if there are too many classes, or only one.
        matrix: Plot of the confusion matrix; None if there are too many classes.
        reliability: Plot of accuracy against confidence; None if there are too few images.
        mistakes: Wrong predictions, the most confident first.
        doubtful: Right predictions, the least confident first.
        located: Whether the images show where the class is seen.
    """

    found: dict[str, Any]
    bars: Markup | None
    matrix: Markup | None
    reliability: Markup | None
    mistakes: Sequence[ExampleImage]
    doubtful: Sequence[ExampleImage]
    located: bool = False

    @property
    def weakest_first(self) -> list[dict[str, Any]]:
        """The figures of each class, the lowest recall first; classes without images last."""
        return sorted(self.found["per_class"], key=lambda row: (not row["support"], float(row["recall"])))

    @property
    def mix_ups(self) -> list[dict[str, Any]]:
        """Pairs of classes that were confused more than once: a single image is no pattern."""
        return [pair for pair in self.found["most_confused"] if pair["count"] > 1]


def draw_sections(
    found: dict[str, Any],
    reliability: Sequence[tuple[float, float, int]],
    mistakes: Sequence[ExampleImage],
    doubtful: Sequence[ExampleImage],
    located: bool = False,
) -> Sections:
    """Draw the plots.

    Args:
        found: See `Sections`.
        reliability: Bins from `tlkit.evaluation.metrics.reliability`.
        mistakes: See `Sections`.
        doubtful: See `Sections`.
        located: See `Sections`.
    """
    bars = matrix = None
    rows = sorted((row for row in found["per_class"] if row["support"]), key=lambda row: float(row["recall"]))
    if 1 < len(rows) <= MAX_BARS:
        lows, highs = ([row["recall_ci95"][end] for row in rows] for end in (0, 1))
        bars = interval_bars([row["class"] for row in rows], [row["recall"] for row in rows], lows, highs, None)
    if len(found["classes"]) <= MAX_BARS:
        matrix = confusion_map(found["confusion_matrix"], found["classes"])
    curve = reliability_diagram(reliability) if found["images"] >= MIN_IMAGES else None
    return Sections(found, bars, matrix, curve, mistakes, doubtful, located)
