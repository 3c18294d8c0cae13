"""The page of ``tlkit evaluate --report``."""

from __future__ import annotations

from typing import Any

from tlkit.report.page import render
from tlkit.report.sections import Sections
from tlkit.report.verdict import next_steps, right_on, weakest
from tlkit.version import VERSION
from tlkit.words import plural

MANY_UNKNOWN = 0.2  # share of known images flagged as unknown, from which the images differ from those in training


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
        weakest=weakest(found),
        now=_next_steps(found, sections),
        found=found,
        its=sections,
        command=command,
        version=VERSION,
    )


def _verdict(found: dict[str, Any]) -> str:
    trained = found["used_in_training"]["train"]
    if trained:
        learnt = f"{plural(trained, 'image')} used in training: this says little about new images."
        return f"Accuracy {found['accuracy']:.1%} ({plural(found['images'], 'image')}). {learnt}"
    return right_on(found["accuracy"], *found["accuracy_ci95"])


def _next_steps(found: dict[str, Any], sections: Sections) -> list[str]:
    steps = next_steps(found, sections)
    if found["used_in_training"]["train"]:
        steps.insert(0, "evaluate on images that were not used in training")
    if (share := found["unknown_share"]) is not None and share > MANY_UNKNOWN:
        steps.append(
            f"look at what is flagged as unknown ({share:.0%} of {found['images']:,}): these images differ from those "
            "in training, so add some like them"
        )
    return steps or ["use it: tlkit predict labels new images"]
