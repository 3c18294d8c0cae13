"""What the markers of a JPEG say, read without decoding it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Final

END, SCAN = 0xD9, 0xDA
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment
# lossless and hierarchical JPEGs, which decoders for photographs do not read
_RARE_FRAMES: Final = {0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical"}
_RARE_FRAMES.update({marker + 8: name for marker, name in tuple(_RARE_FRAMES.items())})
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


def headers(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield (marker, position of its segment's data) up to and including the first scan.

    Ends early where the file is cut off or is no JPEG.
    """
    at = 2
    while True:
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return
        marker = head[1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        else:
            yield marker, at + 4
            if marker in (SCAN, END):
                return
            at += 2 + int.from_bytes(head[2:], "big")


def rare_kind(file: BinaryIO) -> str | None:
    """Return "lossless" or "hierarchical" for a JPEG of that kind, None for all others."""
    return next((_RARE_FRAMES[marker] for marker, _ in headers(file) if marker in _RARE_FRAMES), None)


def is_whole(file: BinaryIO) -> bool:
    """Return whether the image ends with an end marker. Anything may follow it, such as the film of a motion photo."""
    start = next((at for marker, at in headers(file) if marker == SCAN), None)
    if start is None:
        return False
    file.seek(start)
    data = file.read()
    at = 0
    while (found := _MARKER.search(data, at)) is not None:
        marker = data[found.end() - 1]
        if marker == END:
            return True
        at = found.end() + (0 if marker in _ALONE else int.from_bytes(data[found.end() : found.end() + 2], "big"))
    return False
