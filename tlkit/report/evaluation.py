"""The page of ``tlkit evaluate --report``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlkit.report.page import render
from tlkit.report.plots import confusion_map, interval_bars, reliability_diagram
from tlkit.report.thumbnails import Shown
from tlkit.version import VERSION

MOST_BARS = 60  # classes that are drawn; with more, the table alone says it


def evaluation_page(
    found: dict[str, Any],
    reliability: Sequence[tuple[float, float, int]],
    mistakes: Sequence[Shown],
    doubtful: Sequence[Shown],
    name: str,
    command: str,
) -> str:
    """An HTML page.

    Args:
        found: What ``tlkit evaluate --json`` prints.
        reliability: As `tlkit.evaluation.metrics.reliability` gives it.
        mistakes: Pictures with a wrong answer, the surest first.
        doubtful: Pictures with a right answer, the least sure first.
        name: Of the pictures' folder.
        command: That gave all this.
    """
    bars = matrix = None
    shown = [row for row in found["per_class"] if row["support"]]
    if 1 < len(shown) <= MOST_BARS:
        lows, highs = ([row["recall_ci95"][end] for row in shown] for end in (0, 1))
        bars = interval_bars([row["class"] for row in shown], [row["recall"] for row in shown], lows, highs, None)
    if len(found["classes"]) <= MOST_BARS:
        matrix = confusion_map(found["confusion_matrix"], found["classes"])
    return render(
        "evaluation.html",
        name=name,
        verdict=_verdict(found),
        found=found,
        bars=bars,
        matrix=matrix,
        reliability=reliability_diagram(reliability),
        mistakes=mistakes,
        doubtful=doubtful,
        command=command,
        version=VERSION,
    )


def _verdict(found: dict[str, Any]) -> str:
    right = f"{found['accuracy']:.1%} of {found['images']} pictures are right"
    trained = found["used_in_training"]["train"]
    if trained:
        return f"{right}, but {trained} of them were trained on, so that this says little of others."
    low, high = found["accuracy_ci95"]
    return f"{right}; of others of the same kind, {low:.1%} to {high:.1%} will be (95% interval, Wilson)."
