"""The page of ``tlkit evaluate --report``."""

from __future__ import annotations

from typing import Any

from tlkit.report.page import render
from tlkit.report.sections import Sections
from tlkit.version import VERSION


def evaluation_page(found: dict[str, Any], sections: Sections, name: str, command: str) -> str:
    """An HTML page.

    Args:
        found: What ``tlkit evaluate --json`` prints.
        sections: Drawings and images.
        name: Of the images' folder.
        command: That gave all this.
    """
    return render(
        "evaluation.html",
        name=name,
        verdict=_verdict(found),
        found=found,
        its=sections,
        command=command,
        version=VERSION,
    )


def _verdict(found: dict[str, Any]) -> str:
    right = f"{found['accuracy']:.1%} of {found['images']} images are right"
    trained = found["used_in_training"]["train"]
    if trained:
        return f"{right}, but {trained} of them were trained on, so that this says little of others."
    low, high = found["accuracy_ci95"]
    return f"{right}; of others of the same kind, {low:.1%} to {high:.1%} will be (95% interval, Wilson)."
