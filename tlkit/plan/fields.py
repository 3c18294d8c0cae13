"""Records as plain data, and back."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from tlkit.errors import TlkitError


def checked(record: type[Any], data: dict[str, Any], name: str) -> dict[str, Any]:
    """``data`` if its keys are fields of a dataclass, and all that have no default are there.

    Args:
        record: The dataclass.
        data: What is to become one.
        name: What people call it.

    Raises:
        TlkitError: Fields are missing or unknown.
    """
    known = {field.name for field in fields(record)}
    needed = {field.name for field in fields(record) if field.default is MISSING}
    if wrong := (set(data) - known) | (needed - set(data)):
        raise TlkitError(f"not a {name} of this version: {', '.join(sorted(wrong))}")
    return data
