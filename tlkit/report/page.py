"""Render values into one HTML file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from tlkit.libraries import require
from tlkit.words import duration, plural

TEMPLATES = Path(__file__).parent / "templates"


def require_page() -> None:
    """Refuse to make a page, before any work, where what it is made with is not installed.

    Raises:
        TlkitError: jinja2 or matplotlib is missing.
    """
    require("--report", "jinja2", "matplotlib")


def require_template(what: str) -> None:
    """Refuse to make a page without plots, before any work, where what it is made with is not installed.

    Raises:
        TlkitError: jinja2 is missing.
    """
    require(what, "jinja2")


def render(template: str, **values: Any) -> str:
    """Render a page. Every value is escaped, except plots by `tlkit.report.plots`.

    Args:
        template: File name in ``templates/``.
        values: The template's variables; a missing one is an error.
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
    made.filters["plural"] = plural
    return made
