"""Format counts and durations for people."""

from __future__ import annotations

from collections.abc import Iterable


def plural(count: int, noun: str, many: str = "") -> str:
    """Return a count with its noun, such as "1 image" or "1,204 images".

    Args:
        count: The count.
        noun: Singular form.
        many: Plural form, if it is not the singular plus "s".
    """
    return f"{count:,} {noun if count == 1 else many or f'{noun}s'}"


def some(names: Iterable[str], most: int = 5) -> str:
    """Return the first names and how many more there are: "a, b and 3 more"."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def duration(seconds: float) -> str:
    """Return a duration in a readable unit: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
