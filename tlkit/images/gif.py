"""A GIF without its comments.

Pillow joins the blocks of a comment one by one, which takes minutes for a comment of megabytes.
"""

from __future__ import annotations

import io
from typing import BinaryIO, Final

from tlkit.images.spliced import spliced

_EXTENSION, _IMAGE, _CONTROL = 0x21, 0x2C, 0xF9
_MAX_BLOCKS: Final = 4_000_000  # of 255 bytes: a gigabyte of comments


def pixels_only(file: BinaryIO) -> BinaryIO:
    """Return a GIF without the comments and other texts before its first image.

    Args:
        file: The whole file.

    Returns:
        ``file`` itself, at its start, if there is nothing to leave out.
    """
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    header = file.read(13).ljust(13, b"\0")
    at = 13 + (3 << (header[10] & 7) + 1 if header[10] & 0x80 else 0)
    spans: list[tuple[int, int]] = []
    kept_from, left = 0, _MAX_BLOCKS
    while left:
        file.seek(at)
        head = file.read(2)
        if len(head) < 2 or head[0] != _EXTENSION:
            break
        after, left = _after_blocks(file, at + 2, left)
        if head[1] != _CONTROL:
            spans.append((kept_from, at))
            kept_from = after
        at = after
    file.seek(0)
    return spliced(file, [*spans, (kept_from, end)]) if spans else file


def _after_blocks(file: BinaryIO, at: int, left: int) -> tuple[int, int]:
    """Return where a chain of blocks ends, and how many more blocks may be looked at."""
    while left:
        left -= 1
        file.seek(at)
        size = file.read(1)
        at += 1
        if size in (b"", b"\0"):
            break
        at += size[0]
    return at, left
