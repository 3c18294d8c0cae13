"""Words as people write them: plurals, times."""

from __future__ import annotations


def plural(count: int, noun: str, many: str = "") -> str:
    """A count with its noun, such as "1 image" or "1,204 images".

    Args:
        count: How many.
        noun: Of one.
        many: Of several, where that is not the noun with an s.
    """
    return f"{count:,} {noun if count == 1 else many or f'{noun}s'}"


def duration(seconds: float) -> str:
    """A time as people say it: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
