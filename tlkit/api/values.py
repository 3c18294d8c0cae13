"""Numbers as people write them."""

from __future__ import annotations

import re

from tlkit.errors import TlkitError


def parse_count(text: str, option: str = "--max-params") -> float:
    """A number such as "5000000", "5M", "500k" or "1.5G".

    Raises:
        TlkitError: It is no such number, or not above zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?)\s*", text, re.IGNORECASE)
    count = float(found[1]) * {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}[found[2].lower()] if found else 0.0
    if not count > 0:
        raise TlkitError(f"not a number such as 5M: {option} '{text}'", "500k, 5M and 1.5G are such numbers")
    return count
