"""What a header claims, checked before Pillow opens the file: hidden sizes, and work out of all proportion."""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from tlkit.images import jpeg, jpeg2000
from tlkit.images.refused import RefusedError, not_supported

MAX_SCANS: Final = 100  # of a progressive JPEG; encoders write about ten
MAX_METADATA: Final = 32 << 20  # bytes before the pixels of a JPEG: Pillow joins its segments one by one
MAX_PLAIN: Final = 8 << 20  # bytes of a PPM as plain text, of which Python reads less than 2 MB a second
_ICONS: Final = 1024  # images of one icon file

_GAP: Final = rb"(?:\s|#[^\r\n]*[\r\n])+"  # white space and comments
_PPM_HEADER: Final = re.compile(rb"P[1-6fF]%b\d+(?:%b[\d.eE+-]+){1,2}\s" % (_GAP, _GAP))


def check_header(format: str | None, file: BinaryIO, header: bytes, frame: jpeg.Frame | None) -> None:
    """Refuse a file that would take minutes to decode, or to find out that it cannot be.

    Args:
        format: Its format.
        file: The whole file.
        header: Its first bytes.
        frame: Of a JPEG.

    Raises:
        RefusedError: It would.
    """
    if header[12:16] == b"CgBI":
        raise not_supported("PNG as Apple stores it in apps")
    if frame is not None:
        if frame.start > MAX_METADATA:
            raise RefusedError(f"too large: more than {MAX_METADATA >> 20} MiB of metadata")
        if count := jpeg.too_many_scans(file, frame, MAX_SCANS):
            raise RefusedError(f"too slow: {count} scans instead of about ten")
    elif format == "JPEG2000" and jpeg2000.has_tiny_blocks(file):
        raise not_supported("JPEG 2000 in tiny blocks")
    elif format == "PPM":
        _check_ppm(file, header)


def _check_ppm(file: BinaryIO, header: bytes) -> None:
    if header[1:2] in b"123" and file.seek(0, 2) > MAX_PLAIN:
        raise RefusedError(f"too large: over {MAX_PLAIN >> 20} MiB of plain text", "save it as PNG")
    file.seek(0)
    if not _PPM_HEADER.match(file.read(1 << 16)):
        raise RefusedError("damaged")


def declared_pixels(format: str | None, file: BinaryIO, header: bytes) -> int:
    """Return the pixels of an image that is decoded, or begun to be, as soon as Pillow opens it or without a check.

    Args:
        format: Its format; others than WebP and icons have 0.
        file: The whole file.
        header: Its first bytes.
    """
    if format == "WEBP":
        return _webp_pixels(header)
    return max(_icon_pixels(file), default=0) if format == "ICO" else 0


def _webp_pixels(header: bytes) -> int:
    kind = header[12:16]
    if kind == b"VP8X":
        return (_little(header[24:27]) + 1) * (_little(header[27:30]) + 1)
    if kind == b"VP8L":
        bits = _little(header[21:25])
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    return (_little(header[26:28]) & 0x3FFF) * (_little(header[28:30]) & 0x3FFF)


def _icon_pixels(file: BinaryIO) -> list[int]:
    """Return the true number of pixels of each image of an icon file, whatever its table says."""
    file.seek(0)
    count = _little(file.read(6)[4:])
    if count > _ICONS:
        raise RefusedError("damaged")
    found = []
    for entry in [file.read(16) for _ in range(count)]:
        file.seek(_little(entry[12:16]))
        start = file.read(24)
        if start.startswith(b"\x89PNG"):
            width, height = int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
        elif _little(start[:4]) == 12:
            width, height = _little(start[4:6]), _little(start[6:8])
        else:
            width, height = _little(start[4:8]), abs(int.from_bytes(start[8:12], "little", signed=True))
        found.append(width * height)
    return found


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
