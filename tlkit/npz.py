"""Read ``.npz`` files that anyone may have written: their sizes are checked before anything is unpacked."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tlkit.bounded import open_regular

MAX_RATIO = 20  # an array of numbers does not become smaller than this by compression, except of a few kilobytes
SLACK = 1 << 20  # bytes
MAX_MEMBERS = 100_000
# a header is a Python expression, which numpy takes apart
_BAD_HEADER = (*(ValueError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError), tokenize.TokenError)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npz(path: Path, limit: int, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` file.

    Nothing is unpickled. An array is read only if its size is what its header and the archive say.

    Args:
        path: The file.
        limit: Bytes that the file, and its arrays together, may have.
        names: The arrays that must be in it, and no others; None: any.

    Raises:
        OSError: It cannot be read, is no regular file, or is larger.
        ValueError: It is no ``.npz`` file, or is damaged, or lacks an array.
    """
    with open_regular(path, limit) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _arrays(archive, path.stat().st_size, limit, names)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, KeyError) as error:
            raise ValueError(f"it is damaged, or not an .npz file: {_one_line(error)}") from error


def _arrays(archive: zipfile.ZipFile, size: int, limit: int, names: Collection[str] | None) -> dict[str, NDArray[Any]]:
    members = archive.infolist()
    found = [member.filename.removesuffix(".npy") for member in members]
    if len(set(found)) != len(found) or len(found) > MAX_MEMBERS:
        raise ValueError("it has an array twice, or too many of them")
    if names is not None and set(found) != set(names):
        odd = sorted(set(found) ^ set(names))
        raise ValueError(f"it has missing or unknown arrays: {', '.join(name[:40] for name in odd[:6])}")
    total = sum(member.file_size for member in members)
    if total > min(limit, MAX_RATIO * size + SLACK):
        raise ValueError(f"it would unpack to {total:,} bytes, and has {size:,}")
    return {name: _array(archive.read(member), name) for name, member in zip(found, members, strict=True)}


def _array(data: bytes, name: str) -> NDArray[Any]:
    stream = io.BytesIO(data)
    try:
        read_header = _HEADERS.get(npy.read_magic(stream))
        if read_header is None:
            raise ValueError("unknown version")
        shape, column_first, dtype = read_header(stream)
    except _BAD_HEADER as error:
        raise ValueError(f"the array {name[:40]} has no valid header") from error
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None or not dtype.itemsize:
        raise ValueError(f"the array {name[:40]} has other things in it than numbers")
    start = stream.tell()
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"the array {name[:40]} has not the size that its header says")
    if 0 in shape:
        return np.zeros(shape, dtype)
    try:
        values = np.frombuffer(data, dtype, math.prod(shape), start)
        array: NDArray[Any] = values.reshape(shape, order="F" if column_first else "C").copy(order="K")
    except ValueError as error:
        raise ValueError(f"the array {name[:40]} has an impossible shape") from error
    return array


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
