"""Parts of a file as one file, so that what is left out costs nothing and nothing is copied."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO


def spliced(file: BinaryIO, spans: Sequence[tuple[int, int]]) -> BinaryIO:
    """Return parts of a file as a file that reads from it.

    Args:
        file: The whole file; it must stay open, and its position changes.
        spans: (start, end) in bytes of each part, in order; empty ones are left out.
    """
    return io.BufferedReader(_Spliced(file, [(start, stop) for start, stop in spans if start < stop]), 1 << 16)


class _Spliced(io.RawIOBase):
    def __init__(self, file: BinaryIO, spans: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self._file = file
        self._starts = [0]
        for start, stop in spans:
            self._starts.append(self._starts[-1] + stop - start)
        self._spans = spans
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        part = bisect_right(self._starts, self._at) - 1
        if part >= len(self._spans):
            return 0
        into, start = self._at - self._starts[part], self._spans[part][0]
        count = min(len(buffer), self._starts[part + 1] - self._at)
        self._file.seek(start + into)
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
