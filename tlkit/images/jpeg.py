"""What the markers of a JPEG say, read without decoding it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

END, SCAN = 0xD9, 0xDA
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment
# lossless and hierarchical JPEGs, which decoders for photographs do not read
_RARE_FRAMES: Final = {0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical"}
_RARE_FRAMES.update({marker + 8: name for marker, name in tuple(_RARE_FRAMES.items())})
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


@dataclass(frozen=True)
class Frame:
    """What stands before the pixels.

    Attributes:
        start: Position of the first scan's segment; 0 if there is none. What comes before is mostly metadata.
        buffered: Bytes of the coefficients that a decoder holds at full size: those of an image in several scans.
        rare: "lossless" or "hierarchical" for a JPEG of that kind.
    """

    start: int = 0
    buffered: int = 0
    rare: str | None = None


def read_frame(file: BinaryIO) -> Frame:
    """Read the segments before the pixels, as far as they go in a file that is cut off."""
    at, base, data = 2, 0, _from(file, 0)
    frame, marker, rare = b"", 0, None
    while marker not in (SCAN, END):
        if at - base + 24 > len(data):
            base, data = at, _from(file, at)
        head = data[at - base : at - base + 24]
        if len(head) < 5 or head[0] != 0xFF:
            return Frame(rare=rare)
        marker = head[1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker == SCAN:
            return Frame(at + 4, _buffered(frame, head[4]), rare)
        else:
            if marker in _FRAMES:
                frame, rare = bytes([marker]) + head[4:], _RARE_FRAMES.get(marker)
            at += 2 + int.from_bytes(head[2:4], "big")
    return Frame(rare=rare)


def _from(file: BinaryIO, at: int) -> bytes:
    file.seek(at)
    return file.read(1 << 14)


def _buffered(frame: bytes, in_scan: int) -> int:
    """Return `Frame.buffered`.

    Args:
        frame: The marker of the frame and the start of its segment: up to four components.
        in_scan: Number of components in the first scan.
    """
    if len(frame) < 7:
        return 0
    height, width, count = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big"), frame[6]
    if frame[0] not in _PROGRESSIVE and in_scan >= count:
        return 0
    factors = [(each >> 4, each & 15) for each in frame[8::3][: min(count, 4)]]
    most = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
    return 2 * width * height * sum(across * down for across, down in factors) // max(1, most)


def too_many_scans(file: BinaryIO, frame: Frame, most: int) -> int:
    """Return the number of scans of a JPEG that has more than ``most``; 0 for all others."""
    if not frame.buffered:
        return 0
    file.seek(frame.start)
    if file.read().count(bytes([0xFF, SCAN])) < most:  # what follows the image counts too, but that is rare
        return 0
    count = 1 + sum(marker == SCAN for marker in _markers(file, frame))
    return count if count > most else 0


def is_whole(file: BinaryIO, frame: Frame) -> bool:
    """Return whether the image ends with an end marker. Anything may follow it, such as the film of a motion photo."""
    return any(marker == END for marker in _markers(file, frame))


def _markers(file: BinaryIO, frame: Frame) -> Iterator[int]:
    """Yield the markers after the first scan began, up to the one that ends the image."""
    if not frame.start:
        return
    file.seek(frame.start)
    data = file.read()
    at = 0
    while (found := _MARKER.search(data, at)) is not None:
        marker = data[found.end() - 1]
        yield marker
        if marker == END:
            return
        at = found.end() + (0 if marker in _ALONE else int.from_bytes(data[found.end() : found.end() + 2], "big"))
