"""Parse times and numbers as people write them."""

from __future__ import annotations

import re

from tlkit.errors import TlkitError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"\d+(?:\.\d+)?"
_TIMES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def seconds_of(text: str, flag: str = "--time-budget") -> float:
    """Parse a time such as "90s", "10m" or "1.5h" into seconds.

    A bare number is refused: some would mean seconds by it, others minutes.

    Raises:
        TlkitError: It is not a time, has no unit, or is not above zero.
    """
    seconds = _scaled(text, _SECONDS)
    if not seconds > 0:
        if number := re.fullmatch(_NUMBER, text.strip()):
            raise TlkitError(
                f"{flag} requires a unit: '{text}' could be seconds, minutes or hours",
                f"write {number[0]}s, {number[0]}m or {number[0]}h",
            )
        raise TlkitError(f"{flag} requires a time, not '{text}'", "for example 90s, 10m or 1.5h")
    return seconds


def count_of(text: str, flag: str = "--max-params") -> float:
    """Parse a number such as "5000000", "5M", "500k" or "1.5G".

    Raises:
        TlkitError: It is not a number, or not above zero.
    """
    count = _scaled(text, _TIMES)
    if not count > 0:
        raise TlkitError(f"{flag} requires a number, not '{text}'", "for example 500k, 5M or 1.5G")
    return count


def milliseconds_of(text: str, flag: str = "--max-latency") -> float:
    """Parse milliseconds such as "20" or "20ms".

    Raises:
        TlkitError: It is not a number of milliseconds.
    """
    try:
        return float(text.strip().lower().removesuffix("ms"))
    except ValueError:
        raise TlkitError(f"{flag} requires a number of milliseconds, not '{text}'", "for example 20") from None


def _scaled(text: str, factors: dict[str, float]) -> float:
    """Return the number times its unit; 0 if the text is not a number with one of the units."""
    found = re.fullmatch(rf"\s*({_NUMBER})\s*([a-z]?)\s*", text, re.IGNORECASE)
    return float(found[1]) * factors.get(found[2].lower(), 0.0) if found else 0.0
