"""A shard: records of images in one ``.npy`` file, written atomically and never changed.

The file holds one structured element: all content hashes, all checksums, all fingerprints, all payloads. So one short
read at its start gives its index, and its payloads are one array that can be mapped into memory.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import uuid
import weakref
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.images.duplicates import FINGERPRINT_BYTES

SHARD_BYTES = 64 << 20  # maximum size of a shard, which is removed and merged as a whole
CONTENT_BYTES = 32
PRINT_BYTES = 20  # a length byte, then the fingerprint; a multiple of 4 keeps float payloads aligned
_HEADER_BYTES = 4096  # more than the header of any layout
_MAGIC = b"\x93NUMPY\x01\x00"
_COUNT = re.compile(r"\{'descr': \[\('content', '\|V32', \((\d{1,9}),\)\)")


class DamagedError(ValueError):
    """The file is not a complete shard of the expected layout."""


@dataclass(frozen=True)
class Record:
    """The record of one image.

    Attributes:
        payload: Array of the store's dtype and shape.
        fingerprint: Perceptual hash, 0 to 16 bytes; empty if there is none, as for a blank image.
    """

    payload: NDArray[Any]
    fingerprint: bytes = b""


class ReadRows:
    """Payloads that are read from their file, row by row. Several threads may do so at once."""

    def __init__(self, file: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> None:
        self._dtype, self._offset, self._shape = dtype, offset, shape
        self._bytes = dtype.itemsize * math.prod(shape[1:])
        self._descriptor = os.open(file, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def __getitem__(self, key: tuple[int, EllipsisType]) -> NDArray[Any]:
        """Return one row, of ``shape[1:]``.

        Raises:
            OSError: The file is gone, as on a network drive, has become shorter, or cannot be read.
        """
        data = os.pread(self._descriptor, self._bytes, self._offset + key[0] * self._bytes)
        if len(data) < self._bytes:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return np.frombuffer(data, self._dtype).reshape(self._shape[1:])


Payloads = NDArray[Any] | ReadRows


@dataclass(eq=False)
class Shard:
    """The index of a shard; the payloads stay on disk.

    Attributes:
        file: Its path.
        size: Size of the file in bytes.
        contents: SHA-256 of each image, 32 bytes each.
        checks: CRC-32 of each row, uint32 [rows].
        prints: Fingerprint of each row, preceded by its length, `PRINT_BYTES` each.
        dtype: dtype of the payloads.
        shape: Shape of all payloads, [rows, ...].
        offset: Offset of the payloads in the file, in bytes.
        checked: For each row, 1 if its checksum is right, 2 if it is wrong, 0 if it is not checked yet.
    """

    file: Path
    size: int
    contents: bytes
    checks: NDArray[np.uint32]
    prints: bytes
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    checked: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self.checked = bytearray(self.shape[0])

    def __len__(self) -> int:
        return self.shape[0]

    def content(self, row: int) -> bytes:
        """Return the SHA-256 of a row's image."""
        return self.contents[CONTENT_BYTES * row : CONTENT_BYTES * (row + 1)]

    def find(self, content: bytes) -> int | None:
        """Return the row of an image; None if it is not in the shard or known to be damaged."""
        start = -1
        while (start := self.contents.find(content, start + 1)) >= 0:
            row, rest = divmod(start, CONTENT_BYTES)
            if rest == 0 and self.checked[row] != 2:
                return row
        return None

    def payloads(self, *, mapped: bool = True) -> Payloads:
        """Return all payloads, read-only, of `shape`.

        Args:
            mapped: Whether they are mapped from the file. On a network drive they must be read instead: if another
                machine removes the file, a mapped page that is not there yet ends the process.

        Raises:
            OSError: The file is gone or cannot be read.
            ValueError: The file has become shorter.
        """
        if not mapped:
            return ReadRows(self.file, self.dtype, self.offset, self.shape)
        return np.asarray(np.memmap(self.file, self.dtype, "r", self.offset, self.shape))

    def intact(self, row: int, payloads: Payloads) -> bool:
        """Return whether a row's checksum is right; computed once per row."""
        if not self.checked[row]:
            found = _checksum(self.content(row), self._print(row), payloads[row, ...])
            self.checked[row] = 1 if found == self.checks[row] else 2
        return self.checked[row] == 1

    def fingerprint(self, row: int) -> bytes:
        """Return the perceptual hash of a row's image, valid only if the row is intact."""
        length, *digits = self._print(row)
        return bytes(digits[:length])

    def _print(self, row: int) -> bytes:
        return self.prints[PRINT_BYTES * row : PRINT_BYTES * (row + 1)]


def write_shard(
    folder: Path, rows: Sequence[tuple[bytes, Record]], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Path:
    """Write records to a new file in ``folder``, which gets its final name only when it is complete.

    Args:
        folder: An existing folder.
        rows: (content hash, record) of each image, at least one; the hash has 32 bytes.
        dtype: dtype of a payload.
        shape: Shape of a payload.

    Returns:
        The new file.

    Raises:
        OSError: The folder cannot be written.
        ValueError: A hash or fingerprint has the wrong length.
    """
    prints = [bytes([len(record.fingerprint)]) + record.fingerprint for _, record in rows]
    if any(len(content) != CONTENT_BYTES for content, _ in rows) or max(map(len, prints)) > 1 + FINGERPRINT_BYTES:
        raise ValueError("a content hash must have 32 bytes, a fingerprint at most 16")
    padded = [fingerprint.ljust(PRINT_BYTES, b"\0") for fingerprint in prints]
    shard = np.zeros((), dtype=_layout(len(rows), dtype, shape))
    shard["content"] = np.frombuffer(b"".join(content for content, _ in rows), dtype=f"V{CONTENT_BYTES}")
    shard["print"] = np.frombuffer(b"".join(padded), dtype=f"V{PRINT_BYTES}")
    for row, (content, record) in enumerate(rows):
        shard["payload"][row] = record.payload
        shard["crc"][row] = _checksum(content, padded[row], shard["payload"][row : row + 1])
    part = folder / f"{uuid.uuid4().hex}.part"
    try:
        with part.open("wb") as file:
            np.save(file, shard)
            file.flush()
            os.fsync(file.fileno())
        return _renamed(part, part.with_suffix(".npy"))
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _renamed(part: Path, target: Path) -> Path:
    """Rename a file to a name that is its alone.

    Over NFS, the answer to a request may be lost: it is sent again, and then there is nothing left to rename.
    """
    try:
        return part.rename(target)
    except FileNotFoundError:
        if os.path.exists(target):  # noqa: PTH110  (unlike Path.exists, never raises)
            return target
        raise


def open_shard(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Shard:
    """Read the index of a shard.

    Args:
        file: A file written by `write_shard`.
        dtype: dtype of a payload.
        shape: Shape of a payload.

    Raises:
        DamagedError: The file is truncated, or not a shard of this layout.
        OSError: The file cannot be read at the moment.
    """
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        header, count = _header(stream.read(_HEADER_BYTES))
        start = len(_MAGIC) + 2 + len(header)
        if start + count * (CONTENT_BYTES + 4 + PRINT_BYTES + dtype.itemsize * math.prod(shape)) > size:
            raise DamagedError("truncated")
        # compared as text, so that np.load never has to parse a damaged header
        expected = np.lib.format.dtype_to_descr(_layout(count, dtype, shape))
        if header.strip() != f"{{'descr': {expected!r}, 'fortran_order': False, 'shape': (), }}":
            raise DamagedError("wrong layout")
        stream.seek(start)
        contents = stream.read(CONTENT_BYTES * count)
        checks = np.frombuffer(stream.read(4 * count), dtype="<u4")
        prints = stream.read(PRINT_BYTES * count)
        if len(prints) < PRINT_BYTES * count:
            raise DamagedError("truncated")
        return Shard(file, size, contents, checks, prints, dtype, (count, *shape), stream.tell())


def rows_in(file: Path) -> int:
    """Return the number of records in a shard, read from its header; 0 if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return _header(stream.read(_HEADER_BYTES))[1]
    except (OSError, DamagedError):
        return 0


def _header(start: bytes) -> tuple[str, int]:
    """Return the header's text and number of rows."""
    length = int.from_bytes(start[len(_MAGIC) : len(_MAGIC) + 2], "little")
    text = start[len(_MAGIC) + 2 :][:length].decode("latin-1")
    count = _COUNT.match(text)
    if not start.startswith(_MAGIC) or len(text) < length or count is None or int(count[1]) == 0:
        raise DamagedError("not a shard")
    return text, int(count[1])


def _layout(count: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.dtype[Any]:
    return np.dtype(
        [
            ("content", f"V{CONTENT_BYTES}", (count,)),
            ("crc", "<u4", (count,)),
            ("print", f"V{PRINT_BYTES}", (count,)),
            ("payload", dtype, (count, *shape)),
        ]
    )


def _checksum(content: bytes, fingerprint: bytes, payload: NDArray[Any]) -> int:
    """Return the CRC-32 of a row: content hash, fingerprint and payload."""
    return zlib.crc32(np.ascontiguousarray(payload).data, zlib.crc32(content + fingerprint))
