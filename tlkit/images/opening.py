"""Open an image from a path or bytes, refusing as much as possible before any pixel is decoded."""

from __future__ import annotations

import io
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image, UnidentifiedImageError

from tlkit.images.formats import FORMATS, HEADER_BYTES, candidates, register_heif, sniff_format

MAX_PIXELS: Final = 178_956_970
"""The largest image that is decoded: half a GiB as RGB, and the size at which Pillow suspects an attack."""


# Bytes per value of each TIFF type, and the tags that are needed to decode the pixels correctly.
_TIFF_WIDTHS: Final = {
    3: 2,
    4: 4,
    5: 8,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}  # others: 1
_TIFF_PIXEL_TAGS: Final = frozenset({258, 273, 279, 320, 324, 325, 338, 339, 347})


class RefusedError(Exception):
    """The reason why an image cannot be read, without the file's name."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@contextmanager
def opened_file(source: str | os.PathLike[str] | bytes) -> Iterator[BinaryIO]:
    """Open a regular file, or bytes as if they were one, and close it at the end.

    Raises:
        RefusedError: There is no such file, it cannot be read, or it is not a regular file.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        path = Path(source)
        kind = path.stat().st_mode
        # Opening a pipe would wait for someone to write to it.
        if not stat.S_ISREG(kind):
            raise RefusedError("a folder" if stat.S_ISDIR(kind) else "not a regular file")
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RefusedError("no such file") from error
    except PermissionError as error:
        raise RefusedError("permission denied") from error
    except (OSError, ValueError) as error:
        raise RefusedError((getattr(error, "strerror", None) or str(error)).lower()) from error
    with file:
        yield file


@contextmanager
def opened_image(file: BinaryIO, path: str | None) -> Iterator[Image.Image]:
    """Read a file's header, but no pixels, and refuse files that should not be decoded.

    Raises:
        RefusedError: The file is empty, not an image, in a format that cannot be decoded here, or too large.
    """
    header = file.read(HEADER_BYTES)
    if not header:
        raise RefusedError("empty file")
    format = sniff_format(header)
    formats = candidates(format, path, b"" if format else tail(file, 18))
    if format == "HEIC":
        if not register_heif():
            raise RefusedError("HEIC images require the extra 'heif'", 'pip install "tlkit[heif]"')
        formats = ("HEIF",)
    elif not formats:
        raise _unsupported(str(format))
    file.seek(0)
    try:
        image = Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        raise RefusedError(f"too large: {_declared_size(file, formats)}") from error
    except UnidentifiedImageError as error:
        raise RefusedError("damaged" if format else "not an image") from error
    with image:
        refuse_too_large(image)
        if image.format == "TIFF" and _tiff_directory_is_cut(file):
            raise RefusedError("truncated")
        yield image


def _unsupported(format: str) -> RefusedError:
    """Return the error for a format that cannot be read here."""
    if format in FORMATS:
        return RefusedError(f"the installed Pillow cannot read {format}", "pip install --upgrade pillow")
    return RefusedError(f"{format} files cannot be read", "save it as JPEG or PNG")


def tail(file: BinaryIO, count: int) -> bytes:
    """Read the last ``count`` bytes of a file, or all of a shorter file."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - count))
    return file.read()


def _declared_size(file: BinaryIO, formats: tuple[str, ...]) -> str:
    """Return the declared size of an image that ``Image.open`` refused as too large without giving the size."""
    for name in formats:
        with suppress(Exception):
            file.seek(0)
            with Image.OPEN[name][0](file, "") as image:
                return f"{image.width}x{image.height} pixels"
    return f"more than {MAX_PIXELS} pixels"


def refuse_too_large(image: Image.Image) -> None:
    """Refuse an image above `MAX_PIXELS`; Pillow has the same check, but it can be turned off."""
    if image.width * image.height > MAX_PIXELS:
        raise RefusedError(f"too large: {image.width}x{image.height} pixels")


def _tiff_directory_is_cut(file: BinaryIO) -> bool:
    """Return whether a TIFF is cut off within the table that describes its pixels.

    The table is often at the end of the file. Pillow uses what is left of it, and may then read floats as integers.
    """
    at = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    header = file.read(16).ljust(16, b"\0")
    order = "<" if header.startswith(b"II") else ">"
    is_big = 43 in header[2:4]
    start = struct.unpack(order + "Q", header[8:])[0] if is_big else struct.unpack(order + "I", header[4:8])[0]
    file.seek(start)
    count_size, entry = (8, order + "HHQQ") if is_big else (2, order + "HHII")
    count = int.from_bytes(file.read(count_size), "little" if order == "<" else "big")
    table = file.read(min(count, 4096) * struct.calcsize(entry))
    file.seek(at)
    if len(table) < count * struct.calcsize(entry):
        return True
    inline = 8 if is_big else 4
    return any(
        tag in _TIFF_PIXEL_TAGS
        and _TIFF_WIDTHS.get(kind, 1) * length > inline
        and offset + _TIFF_WIDTHS.get(kind, 1) * length > end
        for tag, kind, length, offset in struct.iter_unpack(entry, table)
    )
