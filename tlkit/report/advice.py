"""The page of ``tlkit recommend --report``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlkit.plan.choices import FREEZE
from tlkit.report.page import render
from tlkit.report.plots import interval_bars, learning_curve
from tlkit.version import VERSION
from tlkit.words import duration


def headline(strategy: str, expected: Sequence[dict[str, Any]]) -> str:
    """The recommendation in a few words, with its accuracy and time, and those of ``freeze``.

    Args:
        strategy: The recommended one.
        expected: As in the JSON of ``tlkit recommend``.
    """
    chosen = next(row for row in expected if row["strategy"] == strategy)
    text = f"Recommended: {strategy}."
    if chosen["accuracy"] is None:
        return f"{text} Too few images to predict an accuracy."
    kind = "Cross-validated" if chosen["measured"] else "Predicted"
    interval = f"{100 * chosen['low']:.0f} to {chosen['high']:.0%}"
    text += f" {kind} accuracy {chosen['accuracy']:.0%} ({interval}), about {duration(chosen['seconds'])}."
    frozen = next(row for row in expected if row["strategy"] == FREEZE)
    if frozen is not chosen and frozen["accuracy"] is not None:
        text += f" Freeze: {frozen['accuracy']:.0%}, {duration(frozen['seconds'])}."
    return text


def advice_page(advice: dict[str, Any], name: str, command: str) -> str:
    """Render the page.

    Args:
        advice: What ``tlkit recommend --json`` prints.
        name: Name of the dataset.
        command: The command that follows the advice.
    """
    measured, more, expected = advice["measured"], advice["more_pictures"], advice["expected"]
    known = [row for row in expected if row["accuracy"] is not None]
    bars = curve = None
    if known:
        names = [row["strategy"] for row in known]
        accuracies, lows, highs = ([row[key] for row in known] for key in ("accuracy", "low", "high"))
        bars = interval_bars(names, accuracies, lows, highs, chosen=names.index(advice["strategy"]))
    if measured:
        images = [max(1.0, share * measured["images"]) for share in (0.25, 0.5, 1.0)]
        ahead = (2.0 * measured["images"], more["accuracy"]) if more else None
        curve = learning_curve(images, [measured[key] for key in ("quarter", "half", "last")], ahead)
    return render(
        "advice.html",
        name=name,
        verdict=headline(advice["strategy"], expected),
        bars=bars,
        curve=curve,
        expected=expected,
        frozen=advice["frozen"],
        strategy=advice["strategy"],
        chance=measured["chance"] if measured else None,
        reasons=advice["reasons"],
        groups=advice["groups"],
        more=more,
        similarity=advice["similarity"],
        command=command,
        version=VERSION,
        backbone=advice["backbone"],
        images=advice["dataset"]["images"],
        classes=advice["dataset"]["classes"],
    )
