"""Times and numbers as people write them."""

from __future__ import annotations

import re

from tlkit.errors import TlkitError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIMES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def seconds_of(text: str, flag: str = "--time-budget") -> float:
    """Seconds of a time such as "90s", "10m", "1.5h" or "600".

    Raises:
        TlkitError: It is no such time, or not above zero.
    """
    seconds = _scaled(text, "smh", _SECONDS)
    if not seconds > 0:
        raise TlkitError(f"not a time: {flag} '{text}'", "such as 90s, 10m or 1.5h")
    return seconds


def count_of(text: str, flag: str = "--max-params") -> float:
    """A number such as "5000000", "5M", "500k" or "1.5G".

    Raises:
        TlkitError: It is no such number, or not above zero.
    """
    count = _scaled(text, "kmg", _TIMES)
    if not count > 0:
        raise TlkitError(f"not a number such as 5M: {flag} '{text}'", "500k, 5M and 1.5G are such numbers")
    return count


def milliseconds_of(text: str, flag: str = "--max-latency") -> float:
    """Seconds of a number of milliseconds such as "20".

    Raises:
        TlkitError: It is no number.
    """
    try:
        return float(text) / 1000
    except ValueError:
        raise TlkitError(f"not a number: {flag} '{text}'") from None


def _scaled(text: str, units: str, factors: dict[str, float]) -> float:
    """The number times its unit; 0 where the text is no such number."""
    found = re.fullmatch(rf"\s*(\d+(?:\.\d+)?)\s*([{units}]?)\s*", text, re.IGNORECASE)
    return float(found[1]) * factors[found[2].lower()] if found else 0.0
