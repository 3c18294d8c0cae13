"""Check an HDF5 file that anyone may have written, before any of its values is read.

HDF5 can name other files: by external links, external storage and virtual datasets. A weights file that does could
read any file of this machine into a network, so all three are refused. Sizes are only declared, and may be anything,
so they are compared with the size of the file.
"""

from __future__ import annotations

import math
import os
from typing import IO, Any

import h5py

MAX_OBJECTS = 200_000  # groups and datasets
MAX_LEVELS = 32
MAX_RATIO = 8  # weights hardly become smaller by compression
SLACK = 1 << 20  # bytes
MAX_ATTRIBUTE = 16 << 20  # bytes
MAX_TEXTS = 2 << 30  # bytes; Keras puts the names of a thousand layers beside a configuration of a megabyte
_HEAP = b"GCOL\x01\x00\x00\x00"  # how a collection begins; its size in bytes follows, 8 bytes, little-endian
_FILTERS = (1, 2, 3, 32000)  # deflate, shuffle, checksum, LZF: all others would load a library


class UnsafeFileError(ValueError):
    """An HDF5 file that is refused; the message says why."""


def check_hdf5(file: h5py.File, raw: IO[bytes]) -> int:
    """Check every group, dataset and attribute of a file, and return the bytes of its datasets together.

    Args:
        file: The open file.
        raw: Its bytes, seekable; left at any place.

    Raises:
        UnsafeFileError: It names other files, has links other than hard ones, or declares more data than it can hold.
    """
    todo: list[tuple[h5py.Group, int]] = [(file, 0)]
    seen, total, size = set(), 0, raw.seek(0, os.SEEK_END)
    texts = _check_attributes(file, size)
    while todo:
        group, level = todo.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise UnsafeFileError(f"it has a link to elsewhere ({name[:60]}), which weights do not need")
            item = group[name]
            place = h5py.h5o.get_info(item.id).addr
            if place in seen:
                continue
            seen.add(place)
            if len(seen) > MAX_OBJECTS or level > MAX_LEVELS:
                raise UnsafeFileError("it has too many groups, or too deep ones")
            texts = max(texts, _check_attributes(item, size))
            if isinstance(item, h5py.Group):
                todo.append((item, level + 1))
            elif isinstance(item, h5py.Dataset):
                total += _checked_bytes(item, size)
        if total > MAX_RATIO * size + SLACK:
            raise UnsafeFileError(f"it declares more than {MAX_RATIO} times as much data as it has")
    if texts > 1 and texts * _largest_heap(raw) > MAX_TEXTS:
        raise UnsafeFileError("its attributes are too large")
    return total


def _checked_bytes(dataset: h5py.Dataset, size: int) -> int:
    """Return the declared bytes of a dataset whose values lie in the file itself."""
    if dataset.is_virtual or dataset.external:
        raise UnsafeFileError(f"its array {dataset.name[:60]} lies in another file")
    layout = dataset.id.get_create_plist()
    if any(layout.get_filter(number)[0] not in _FILTERS for number in range(layout.get_nfilters())):
        raise UnsafeFileError(f"its array {dataset.name[:60]} has an unusual compression")
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if chunk > MAX_RATIO * size + SLACK:
        raise UnsafeFileError(f"it declares more than {MAX_RATIO} times as much data as it has")
    return math.prod(dataset.shape or ()) * int(dataset.dtype.itemsize)


def _check_attributes(item: Any, size: int) -> int:
    """Check an object's attributes; return the length of the longest list of texts of variable length."""
    texts = 0
    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        count = math.prod(attribute.shape)
        if attribute.dtype.hasobject:
            texts = max(texts, count)
        if count * attribute.dtype.itemsize > min(MAX_ATTRIBUTE, size):
            raise UnsafeFileError(f"its attribute {name[:60]} is too large")
    return texts


def _largest_heap(raw: IO[bytes]) -> int:
    """Return the bytes of the largest collection of texts of variable length: no text is longer.

    Texts of a list are references, and many may be to one long text. The library would copy it for each of them.
    """
    largest, before, position = 0, b"", 0
    raw.seek(0)
    while block := raw.read(1 << 20):
        data = before + block
        start = data.find(_HEAP)
        while 0 <= start <= len(data) - 16:
            largest = max(largest, int.from_bytes(data[start + 8 : start + 16], "little"))
            start = data.find(_HEAP, start + 1)
        before, position = data[-15:], position + len(block)
    return min(largest, position)
