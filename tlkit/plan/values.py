"""Parse times and numbers as people write them."""

from __future__ import annotations

import re

from tlkit.errors import TlkitError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIMES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def seconds_of(text: str, flag: str = "--time-budget") -> float:
    """Parse a time such as "90s", "10m", "1.5h" or "600" into seconds.

    Raises:
        TlkitError: It is not a time, or not above zero.
    """
    seconds = _scaled(text, "smh", _SECONDS)
    if not seconds > 0:
        raise TlkitError(f"{flag} requires a time, not '{text}'", "for example 90s, 10m or 1.5h")
    return seconds


def count_of(text: str, flag: str = "--max-params") -> float:
    """Parse a number such as "5000000", "5M", "500k" or "1.5G".

    Raises:
        TlkitError: It is not a number, or not above zero.
    """
    count = _scaled(text, "kmg", _TIMES)
    if not count > 0:
        raise TlkitError(f"{flag} requires a number, not '{text}'", "for example 500k, 5M or 1.5G")
    return count


def milliseconds_of(text: str, flag: str = "--max-latency") -> float:
    """Parse milliseconds such as "20" into seconds.

    Raises:
        TlkitError: It is not a number.
    """
    try:
        return float(text) / 1000
    except ValueError:
        raise TlkitError(f"{flag} requires a number of milliseconds, not '{text}'") from None


def _scaled(text: str, units: str, factors: dict[str, float]) -> float:
    """Return the number times its unit; 0 if the text is not a number."""
    found = re.fullmatch(rf"\s*(\d+(?:\.\d+)?)\s*([{units}]?)\s*", text, re.IGNORECASE)
    return float(found[1]) * factors[found[2].lower()] if found else 0.0
