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
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
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


def buffered_bytes(file: BinaryIO) -> int:
    """Return the bytes of the coefficients that the decoder holds at full size: those of an image in several scans."""
    frame, in_scan, is_progressive = b"", 0, False
    for marker, at in headers(file):
        file.seek(at)
        if marker in _FRAMES:
            frame, is_progressive = file.read(6 + 3 * 4), marker in _PROGRESSIVE
        elif marker == SCAN:
            in_scan = int.from_bytes(file.read(1), "big")
    if len(frame) < 6:
        return 0
    height, width, count = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"), frame[5]
    if not (is_progressive or in_scan < count):
        return 0
    factors = [(each >> 4, each & 15) for each in frame[7::3][:count]]
    most = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
    return 2 * width * height * sum(across * down for across, down in factors) // max(1, most)


def scan_count(file: BinaryIO) -> int:
    """Return the number of scans of a JPEG that is decoded in several; 1 for all others."""
    if not buffered_bytes(file):
        return 1
    return sum(marker == SCAN for marker in _markers(file)) + 1


def header_bytes(file: BinaryIO) -> int:
    """Return the bytes before the first scan: mostly metadata."""
    return max((at for _, at in headers(file)), default=0)


def is_whole(file: BinaryIO) -> bool:
    """Return whether the image ends with an end marker. Anything may follow it, such as the film of a motion photo."""
    return any(marker == END for marker in _markers(file))


def _markers(file: BinaryIO) -> Iterator[int]:
    """Yield the markers after the first scan began, up to the one that ends the image."""
    start = next((at for marker, at in headers(file) if marker == SCAN), None)
    if start is None:
        return
    file.seek(start)
    data = file.read()
    at = 0
    while (found := _MARKER.search(data, at)) is not None:
        marker = data[found.end() - 1]
        yield marker
        if marker == END:
            return
        at = found.end() + (0 if marker in _ALONE else int.from_bytes(data[found.end() : found.end() + 2], "big"))
