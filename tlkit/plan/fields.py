"""Check plain data before a record is made from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tlkit.errors import TlkitError
from tlkit.schema import WrongDataError, annotations_of, listed, parsed, required

Record = TypeVar("Record")


def record_of(record: Callable[..., Record], data: Any, name: str) -> Record:
    """Make a record from plain data, which may come from a stranger.

    Args:
        record: A dataclass whose annotations say what each field can hold; see `tlkit.schema`.
        data: Field values by name.
        name: What to call the record in messages.

    Raises:
        TlkitError: Fields are missing or unknown, have another type, or are out of bounds.
    """
    if isinstance(data, dict):
        known = set(annotations_of(record))
        if wrong := (set(data) - known) | (required(record) - set(data)):
            raise TlkitError(f"not a {name} of this version; missing or unknown fields: {listed(wrong)}")
    try:
        made: Record = parsed(record, data)
    except WrongDataError as error:
        raise TlkitError(f"not a {name} of this version: {error}") from error
    return made
