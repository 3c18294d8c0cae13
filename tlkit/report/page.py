"""From values to one HTML file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from tlkit.words import duration

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """A whole page. Every value is escaped but what `tlkit.report.plots` drew.

    Args:
        template: File name below ``templates/``.
        values: What it takes; a name it lacks is an error.
    """
    return str(_environment().get_template(template).render(**values))


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f}%"
    made.filters["duration"] = duration
    return made
