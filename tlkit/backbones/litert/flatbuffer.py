"""Read a flatbuffer that a stranger may have written: nothing outside the file is ever looked at.

The layout is that of the FlatBuffers documentation, "FlatBuffer internals": tables begin with the distance to a list
of where their fields lie, and refer to vectors, texts and other tables by distances.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SIZES = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}  # bytes, by struct's letter
MAX_NUMBERS = 100_000  # in a vector that is not of bytes
_LENGTH = 4  # bytes of a distance, and of the length of a vector


class Table:
    """A table in a flatbuffer.

    Args:
        data: The whole file.
        place: Where the table begins.
        fields: How many fields such a table may have; one with a higher number is not known here.

    Raises:
        ValueError: The table does not lie within the file, or has a field that is not known.
    """

    __slots__ = ("_data", "_place", "_places", "_size")

    def __init__(self, data: memoryview, place: int, fields: int) -> None:
        self._data, self._place = data, place
        back = _number(data, place, "i")
        found = place - back
        size, self._size = _number(data, found, "H"), _number(data, found + 2, "H")
        if size < 4 or size % 2 or found + size > len(data) or place + self._size > len(data) or place % 4:
            raise ValueError("a table does not lie within the file")
        self._places: tuple[int, ...] = struct.unpack_from(f"<{(size - 4) // 2}H", data, found + 4)
        if any(self._places[fields:]):
            raise ValueError("a table has fields that are not known")

    def has(self, field: int) -> bool:
        """Return whether a field is given."""
        return field < len(self._places) and self._places[field] != 0

    def number(self, field: int, letter: str, default: float = 0) -> int:
        """Return a number, whose type is a letter of `struct`."""
        if not self.has(field):
            return int(default)
        return _number(self._data, self._within(field, _SIZES[letter]), letter)

    def bytes_at(self, field: int) -> memoryview:
        """Return a vector of bytes; an empty one if it is not given."""
        return self._vector(field, 1)

    def numbers(self, field: int, letter: str = "i") -> tuple[int, ...]:
        """Return a vector of numbers; an empty one if it is not given."""
        found = self._vector(field, _SIZES[letter])
        if len(found) > MAX_NUMBERS * _SIZES[letter]:
            raise ValueError("a vector is too long")
        values: tuple[int, ...] = struct.unpack(f"<{len(found) // _SIZES[letter]}{letter}", found)
        return values

    def text(self, field: int) -> None:
        """Check a text, which must end with a null byte; it may be missing."""
        if self.has(field):
            found = self._vector(field, 1)
            end = self._end(found, field)
            if end >= len(self._data) or self._data[end] != 0:
                raise ValueError("a text does not end")

    def table(self, field: int, fields: int) -> Table | None:
        """Return a table that a field refers to; None if it is not given."""
        return Table(self._data, self._target(field), fields) if self.has(field) else None

    def tables(self, field: int, fields: int) -> Iterator[Table]:
        """Yield the tables of a vector; none if it is not given."""
        if self.has(field):
            start = self._target(field) + _LENGTH
            for place in range(start, start + len(self._vector(field, _LENGTH)), _LENGTH):
                yield Table(self._data, place + _number(self._data, place, "I"), fields)

    def refuse(self, *fields: int) -> None:
        """Raise ValueError if one of these fields is given."""
        if any(self.has(field) for field in fields):
            raise ValueError("a table has fields that networks of tlkit do not have")

    def _within(self, field: int, size: int) -> int:
        offset = self._places[field]
        if offset < 4 or offset + size > self._size:
            raise ValueError("a field does not lie within its table")
        return self._place + offset

    def _target(self, field: int) -> int:
        place = self._within(field, _LENGTH)
        return place + _number(self._data, place, "I")

    def _vector(self, field: int, size: int) -> memoryview:
        if not self.has(field):
            return self._data[:0]
        start = self._target(field)
        count = _number(self._data, start, "I")
        if start + _LENGTH + count * size > len(self._data):
            raise ValueError("a vector does not lie within the file")
        return self._data[start + _LENGTH : start + _LENGTH + count * size]

    def _end(self, found: memoryview, field: int) -> int:
        return self._target(field) + _LENGTH + len(found)


def root(data: memoryview, identifier: bytes, fields: int) -> Table:
    """Return the first table of a file.

    Args:
        data: The whole file.
        identifier: Its bytes 4 to 8.
        fields: See `Table`.

    Raises:
        ValueError: It is no such file.
    """
    if bytes(data[4:8]) != identifier:
        raise ValueError("the file has another format")
    return Table(data, _number(data, 0, "I"), fields)


def _number(data: memoryview, place: int, letter: str) -> int:
    size = _SIZES[letter]
    if place < 0 or place + size > len(data) or place % size:
        raise ValueError("a distance leads out of the file, or to an odd place")
    found: int = struct.unpack_from(f"<{letter}", data, place)[0]
    return found
