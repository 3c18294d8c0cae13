"""Check plain data before a record is made from it."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from tlkit.errors import TlkitError


def checked(record: type[Any], data: dict[str, Any], name: str) -> dict[str, Any]:
    """Return ``data`` if its keys are fields of a dataclass and all required fields are present.

    Args:
        record: The dataclass.
        data: Field values by name.
        name: What to call the record in messages.

    Raises:
        TlkitError: Fields are missing or unknown.
    """
    known = {field.name for field in fields(record)}
    required = {field.name for field in fields(record) if field.default is MISSING}
    if wrong := (set(data) - known) | (required - set(data)):
        raise TlkitError(f"not a {name} of this version; missing or unknown fields: {', '.join(sorted(wrong))}")
    return data
