"""The page of ``tlkit recommend --report``."""

from __future__ import annotations

from typing import Any

from tlkit.report.page import render
from tlkit.report.plots import interval_bars, learning_curve
from tlkit.version import VERSION


def advice_page(advice: dict[str, Any], name: str, command: str) -> str:
    """An HTML page.

    Args:
        advice: What ``tlkit recommend --json`` prints.
        name: Of the data set.
        command: That carries the advice out.
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
        verdict=f"{advice['strategy']}: {advice['reasons'][0]}.",
        bars=bars,
        curve=curve,
        expected=expected,
        strategy=advice["strategy"],
        chance=measured["chance"] if measured else None,
        reasons=advice["reasons"][1:],
        more=more,
        similarity=advice["similarity"],
        command=command,
        version=VERSION,
        backbone=advice["backbone"],
        images=advice["dataset"]["images"],
        classes=advice["dataset"]["classes"],
    )
