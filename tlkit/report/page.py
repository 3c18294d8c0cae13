"""From values to one HTML file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from tlkit.errors import TlkitError

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


def duration(seconds: float) -> str:
    """A time as people say it: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def check_free(path: Path, images: Path | None, option: str = "--report") -> None:
    """Refuse a file that exists, has no folder or would lie among the images, before any work.

    Raises:
        TlkitError: It cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise TlkitError(f"output exists: {path}", f"choose another name for {option}")
    if not path.parent.is_dir():
        raise TlkitError(f"no such folder: {path.parent}", f"make it, or choose another place for {option}")
    if images is not None and images.is_dir() and path.parent.resolve().is_relative_to(images.resolve()):
        raise TlkitError(f"{option} would lie inside the image folder: {path}", "choose another place")


def write(path: Path, text: str) -> None:
    """Write a new file.

    Raises:
        TlkitError: It is there already, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8", errors="xmlcharrefreplace") as file:
            file.write(text)
    except OSError as error:
        raise TlkitError(f"cannot write {path}: {error.strerror or error}") from None
