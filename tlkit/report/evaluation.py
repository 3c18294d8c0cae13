"""The page of ``tlkit evaluate --report``."""

from __future__ import annotations

from typing import Any

from tlkit.report.page import render
from tlkit.report.sections import Sections
from tlkit.version import VERSION
from tlkit.words import plural


def evaluation_page(found: dict[str, Any], sections: Sections, name: str, command: str) -> str:
    """Render the page.

    Args:
        found: What ``tlkit evaluate --json`` prints.
        sections: Plots and images.
        name: Name of the images' folder.
        command: The command that repeats the evaluation.
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
    accuracy = f"Accuracy {found['accuracy']:.1%} ({plural(found['images'], 'image')})."
    trained = found["used_in_training"]["train"]
    if trained:
        return f"{accuracy} {plural(trained, 'image')} used in training: this says little about new images."
    low, high = found["accuracy_ci95"]
    return f"{accuracy} On new images of the same kind, expect {low:.1%} to {high:.1%} (95% interval, Wilson)."
