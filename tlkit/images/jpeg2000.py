"""What the header of a JPEG 2000 says about the memory that decoding takes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

_START: Final = b"\xff\x4f\xff\x51"  # start of the code stream and of its size segment
_COD, _SOT = 0xFF52, 0xFF90
_MAX_SEARCHED: Final = 64 << 20  # bytes of a file; a larger one counts as one tile
_MIN_BLOCK: Final = 8  # binary logarithm of the pixels of a code block; encoders write 10 to 12
_MIN_PRECINCT: Final = 5  # binary logarithm of a precinct's side; encoders write 7 to 15


def tile_pixels(file: BinaryIO) -> int | None:
    """Return the pixels of a tile, the unit that is decoded at once; None if it is not known.

    The largest of all that could be meant counts, as a file may hold a second header where metadata are.
    """
    return max((width * height for width, height, _ in _streams(file)), default=None)


def has_tiny_blocks(file: BinaryIO) -> bool:
    """Return whether the image is cut into blocks so small that their bookkeeping takes far more than the pixels."""
    return any(_is_tiny(body) for _, _, body in _streams(file))


def _streams(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield (tile width, tile height, header segments) of everything that looks like a code stream."""
    if file.seek(0, 2) > _MAX_SEARCHED:
        return
    file.seek(0)
    data = file.read()
    at = data.find(_START)
    while at >= 0:
        size = data[at + 4 : at + 42]
        if len(size) == 38:
            width, height = struct.unpack(">II", size[20:28])
            yield width, height, data[at + 4 : at + 4 + 65536]
        at = data.find(_START, at + 4)


def _is_tiny(segments: bytes) -> bool:
    """Return whether a coding style before the first tile has tiny blocks or precincts."""
    at = int.from_bytes(segments[:2], "big")
    while at + 4 <= len(segments):
        marker, length = struct.unpack(">HH", segments[at : at + 4])
        if marker == _SOT or length < 2:
            break
        if marker == _COD:
            body = segments[at + 4 : at + 2 + length]
            if len(body) >= 10 and (body[6] & 15) + (body[7] & 15) + 4 < _MIN_BLOCK:
                return True
            if body[:1] and body[0] & 1:
                finest = body[-1]  # of the full size, where most precincts are
                return min(finest & 15, finest >> 4) < _MIN_PRECINCT
        at += 2 + length
    return False
