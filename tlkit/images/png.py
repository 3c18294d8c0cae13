"""The parts of a PNG that its pixels depend on.

Pillow refuses a PNG whose text or colour profile is larger than an attack could be, or has a wrong checksum. Neither
changes a pixel that tlkit reads, so they are left out before Pillow sees the file. Its limits stay as they are.
"""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO, Final

from tlkit.images.refused import RefusedError
from tlkit.images.spliced import spliced

MAX_CHUNKS: Final = 1_000_000
"""Chunks of one file. Encoders write at least 8 KiB of pixels into each, so that a gigabyte has an eighth of this."""

_START: Final = 8  # bytes of the signature
_FRAME: Final = 12  # bytes of a chunk around its data: length, name, checksum
_PIXELS: Final = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})  # optional chunks that say what is seen
_TEXT: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_TURNS: Final = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")  # texts in which Pillow looks for a rotation
_MAX_CHUNK: Final = 16 << 20  # bytes of a chunk that may hold a rotation
_MAX_UNPACKED: Final = 1 << 20  # bytes of its text, unpacked; Pillow refuses more


def pixels_only(file: BinaryIO) -> BinaryIO:
    """Return a PNG without its text, colour profile and other optional chunks that change no pixel.

    Chunks with the EXIF orientation stay if they are sound and small. Nothing is copied: the result reads ``file``.

    Args:
        file: The whole file.

    Returns:
        ``file`` itself, at its start, if there is nothing to leave out.

    Raises:
        RefusedError: The file has more than `MAX_CHUNKS` chunks.
    """
    end = file.seek(0, io.SEEK_END)
    spans: list[tuple[int, int]] = []
    kept_from, at = 0, _START
    file.seek(at)
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        after = at + _FRAME + int.from_bytes(head[:4], "big")
        name = head[4:]
        if name[0] & 0x20 and name not in _PIXELS and not _is_sound_turn(file, name, at, min(after, end)):
            if kept_from < at:
                spans.append((kept_from, at))
            kept_from = after
        if name == b"IEND" or after >= end:
            break
        at = after
        file.seek(at)
    else:
        raise RefusedError("damaged")
    file.seek(0)
    return spliced(file, [*spans, (kept_from, end)]) if kept_from else file


def _is_sound_turn(file: BinaryIO, name: bytes, start: int, end: int) -> bool:
    """Return whether a chunk may hold the EXIF orientation, is small even when unpacked, and has its own checksum."""
    if not (name == b"eXIf" or name in _TEXT) or end - start > _MAX_CHUNK:
        return False
    file.seek(start + 4)
    body = file.read(end - start - 4)
    if len(body) < 8 or zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "big"):
        return False
    return name == b"eXIf" or (body.startswith(_TURNS, 4) and _unpacks_small(name, body[4:-4]))


def _unpacks_small(name: bytes, text: bytes) -> bool:
    """Return whether the text of a chunk is not compressed, or sound and at most `_MAX_UNPACKED` bytes unpacked."""
    rest = text.split(b"\0", 1)[1]
    if name == b"tEXt" or (name == b"iTXt" and rest[:1] != b"\1"):
        return True
    packed = rest[1:] if name == b"zTXt" else rest[2:].split(b"\0", 2)[-1]
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(packed, _MAX_UNPACKED)
    except zlib.error:
        return False
    return not unpacking.unconsumed_tail
