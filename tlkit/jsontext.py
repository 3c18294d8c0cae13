"""Write strictly valid JSON; all JSON that other programs read is written here."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(data: object, indent: int | None = None) -> str:
    """Return plain data as JSON. NaN and infinities, which JSON cannot represent, become null.

    Args:
        data: Anything that `json.dumps` accepts.
        indent: Spaces per level; None: one line.
    """
    try:
        return json.dumps(data, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(data), indent=indent, allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {_key(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data


def _key(key: Any) -> Any:
    return str(key) if isinstance(key, float) and not math.isfinite(key) else key
