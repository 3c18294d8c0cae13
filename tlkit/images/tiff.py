"""The directory of a TIFF's first image, read before Pillow opens the file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import BinaryIO, Final

from PIL import Image

from tlkit.words import plural

MAX_ENTRIES: Final = 4096
MAX_VALUES: Final = 1 << 20  # values read of one entry

# Bytes per value of each type; others: 1. Unsigned integers are those that sizes and places are given in.
_WIDTHS: Final = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNSIGNED: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 256, 257, 258, 259, 262, 277
ROWS_PER_STRIP, PLANAR, TILE_WIDTH, TILE_HEIGHT, FORMATS, SUBSAMPLING = 278, 284, 322, 323, 339, 530
_STARTS, _SIZES = (273, 324), (279, 325)
# What decoding the pixels correctly needs.
_PIXEL_TAGS: Final = frozenset({BITS, *_STARTS, *_SIZES, 320, 338, FORMATS, 347})
_READ: Final = _PIXEL_TAGS | {
    *(WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS_PER_STRIP, PLANAR, TILE_WIDTH, TILE_HEIGHT, SUBSAMPLING)
}
_UINT, _INT, _FLOAT = 1, 2, 3
_KINDS: Final = {_UINT: "integers", _INT: "signed", _FLOAT: "floats", 5: "complex", 6: "complex"}
_COMPRESSIONS: Final = frozenset(
    {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000, 50001}
)
_COLOURS: Final = frozenset({0, 1, 2, 3, 5, 6, 8})  # values of PHOTOMETRIC that Pillow reads
_RARE_CODECS: Final = frozenset({"zstd", "lzma", "webp"})


@dataclass(frozen=True)
class Directory:
    """The entries that describe pixels.

    Attributes:
        tags: Values of each entry, those that are unsigned integers.
        is_cut: Whether the file ends within the directory, or within values that decoding needs.
        bytes: Size of the values of all entries together, which a reader may hold.
        file_bytes: Size of the file.
    """

    tags: dict[int, tuple[int, ...]]
    is_cut: bool
    bytes: int
    file_bytes: int

    def one(self, tag: int, default: int) -> int:
        """Return the first value of an entry."""
        return next(iter(self.tags.get(tag, ())), default)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each sample of a pixel."""
        return self.tags.get(BITS, (1,))

    @property
    def is_sound(self) -> bool:
        """Whether the image has a size, and all its strips or tiles lie within the file."""
        starts = next((self.tags[tag] for tag in _STARTS if tag in self.tags), ())
        sizes = next((self.tags[tag] for tag in _SIZES if tag in self.tags), ())
        has_size = self.one(WIDTH, 0) > 0 and self.one(HEIGHT, 0) > 0
        if self.is_cut or not has_size or not starts or len(starts) != len(sizes):
            return False
        return all(start + size <= self.file_bytes for start, size in zip(starts, sizes, strict=True))

    @property
    def buffer_bytes(self) -> int:
        """Bytes of a strip or tile, which the decoder of a compressed file holds besides the image."""
        if self.one(COMPRESSION, 1) == 1:
            return 0
        across, down = self.one(WIDTH, 0), min(self.one(HEIGHT, 0), self.one(ROWS_PER_STRIP, 1 << 32))
        if TILE_WIDTH in self.tags:
            across, down = self.one(TILE_WIDTH, 0), self.one(TILE_HEIGHT, 0)
        samples = max(self.one(SAMPLES, 1), len(self.bits))
        return across * down * max(4, samples * max(self.bits) // 8)

    @property
    def layout(self) -> str:
        """What is rare about how the pixels are stored, in a few words, such as "9 channels of 8-bit integers"."""
        compression, colour = self.one(COMPRESSION, 1), self.one(PHOTOMETRIC, 0)
        if compression not in _COMPRESSIONS:
            return f"compression {compression}"
        if colour not in _COLOURS:
            return f"photometric interpretation {colour}"
        samples = self.one(SAMPLES, len(self.bits))
        kind = _KINDS.get(self.one(FORMATS, _UINT), "values")
        return f"{plural(samples, 'channel')} of {self.bits[0]}-bit {kind}"

    @property
    def is_misread(self) -> bool:
        """Whether Pillow would open the file and read other values than are stored.

        Among uncompressed files, it takes 16-bit channels that are stored one after another for bytes, and knows no
        subsampled colours. In all, it takes signed bytes for unsigned ones.
        """
        if self.bits[0] == 8 and self.one(FORMATS, _UINT) == _INT:
            return True
        if self.one(COMPRESSION, 1) != 1:
            return False
        deep_planes = self.one(PLANAR, 1) == 2 and max(self.bits) > 8 and self.one(SAMPLES, 1) > 1
        return deep_planes or (self.one(PHOTOMETRIC, 0) == 6 and self.tags.get(SUBSAMPLING, (2, 2)) != (1, 1))


def read_directory(file: BinaryIO) -> Directory:
    """Read the first directory of a TIFF or BigTIFF; the file's position does not change.

    It is often at the end of the file. Pillow uses what is left of one that is cut off, and may then read floats as
    integers.
    """
    before = file.tell()
    end = file.seek(0, 2)
    try:
        return _directory(file, end)
    finally:
        file.seek(before)


def _directory(file: BinaryIO, end: int) -> Directory:
    file.seek(0)
    header = file.read(16).ljust(16, b"\0")
    order, byte_order = ("<", "little") if header.startswith(b"II") else (">", "big")
    is_big = 43 in header[2:4]
    start = struct.unpack(order + "Q", header[8:])[0] if is_big else struct.unpack(order + "I", header[4:8])[0]
    if start > end:
        return Directory({}, True, 0, end)
    file.seek(start)
    count_size, entry, inline = (8, order + "HHQ8s", 8) if is_big else (2, order + "HHI4s", 4)
    count = int.from_bytes(file.read(count_size), byte_order)  # type: ignore[arg-type]
    width = struct.calcsize(entry)
    table = file.read(min(count, MAX_ENTRIES) * width)
    is_cut = len(table) < count * width
    tags: dict[int, tuple[int, ...]] = {}
    held = 0
    for tag, kind, length, value in struct.iter_unpack(entry, table[: len(table) // width * width]):
        size = _WIDTHS.get(kind, 1) * length
        place = int.from_bytes(value, byte_order)  # type: ignore[arg-type]
        held += size
        if size > inline and place + size > end:
            is_cut = is_cut or tag in _PIXEL_TAGS
        elif tag in _READ and kind in _UNSIGNED and length <= MAX_VALUES:
            if size > inline:
                file.seek(place)
            data = file.read(size) if size > inline else value[:size]
            tags.setdefault(tag, struct.unpack(f"{order}{length}{_UNSIGNED[kind]}", data))
    return Directory(tags, is_cut, held, end)


@cache
def has_codec(compression: str) -> bool:
    """Return whether the installed Pillow decodes a compression, by its name; the common ones count as there."""
    if compression not in _RARE_CODECS:
        return True
    try:
        Image.new("RGB", (16, 16)).save(BytesIO(), "TIFF", compression=compression)
    except (OSError, ValueError, KeyError):
        return False
    return True
