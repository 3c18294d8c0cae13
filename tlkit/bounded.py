"""Read files that anyone may have written: regular files only, of bounded size, and JSON of bounded depth."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

MAX_DEPTH = 64  # of nested JSON
MAX_CONTAINERS = 500_000  # objects and lists in a JSON file: each takes 60 bytes of memory or more
MAX_ITEMS = 4_000_000  # values in a JSON file
MAX_NOT_ASCII = 16 << 20  # bytes of JSON with other characters, which may take four bytes each
MIB = 1 << 20


@contextmanager
def open_regular(path: Path, limit: int) -> Iterator[IO[bytes]]:
    """Open a regular file of at most ``limit`` bytes for reading.

    A named pipe or a device is never waited for. Symbolic links are followed.

    Raises:
        OSError: It cannot be opened, is no regular file, or is larger.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"it has {_size(found.st_size)}, more than {_size(limit)}")
        yield file


def read_limited(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises:
        OSError: As for `open_regular`.
    """
    with open_regular(path, limit) as file:
        data = file.read(limit + 1)
    if len(data) > limit:  # it has grown
        raise OSError(errno.EFBIG, f"it has more than {_size(limit)}")
    return data


def limited_hash(path: Path, limit: int) -> str:
    """Return the SHA-256, in hex, of a regular file of at most ``limit`` bytes.

    Raises:
        OSError: As for `open_regular`.
    """
    digest, left = hashlib.sha256(), limit
    with open_regular(path, limit) as file:
        while left >= 0 and (block := file.read(MIB)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def read_json(path: Path, limit: int) -> Any:
    """Return the JSON in a regular file of at most ``limit`` bytes.

    Raises:
        OSError: As for `open_regular`.
        ValueError: It is not JSON, or `parse_json` refuses it.
    """
    return parse_json(read_limited(path, limit))


def parse_json(data: bytes, *, finite: bool = True) -> Any:
    """Return the value of JSON in UTF-8.

    Args:
        data: The JSON.
        finite: Whether to refuse NaN and infinities, which Python's own JSON has.

    Raises:
        ValueError: It is not JSON, repeats a key, is nested more than `MAX_DEPTH` deep, or has more values than
            `MAX_ITEMS`, of which `MAX_CONTAINERS` objects and lists.
    """
    containers = data.count(b"[") + data.count(b"{")
    if containers > MAX_CONTAINERS or data.count(b",") > MAX_ITEMS:
        raise ValueError("it has too many values")
    if len(data) > MAX_NOT_ASCII and not data.isascii():
        raise ValueError("it has too many characters")
    constant = {"parse_constant": _refuse_constant} if finite else {}
    try:
        found = json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_float=_finite_float if finite else float,
            **constant,  # type: ignore[arg-type]
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if containers > MAX_DEPTH:
        _check_depth(found)
    return found


def why_not_json(error: ValueError) -> str:
    """Return the reason of a `ValueError` from `parse_json`, in a few words."""
    is_syntax = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
    return "it is not JSON" if is_syntax else str(error)[:120]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it has a key twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it has {name}, which is not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("it has a number that is too large")
    return value


def _check_depth(found: Any) -> None:
    level, depth = [found], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        containers = (each for each in level if isinstance(each, dict | list))
        inner = (item for each in containers for item in (each.values() if isinstance(each, dict) else each))
        level = [item for item in inner if isinstance(item, dict | list)]


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < MIB else f"{count / MIB:,.0f} MiB"
