"""Open an image from a path or bytes, refusing as much as possible before any pixel is decoded."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import Image, UnidentifiedImageError

from tlkit.images import gif, png
from tlkit.images.budget import decoding
from tlkit.images.claims import check_header, declared_pixels
from tlkit.images.cost import bytes_of_header
from tlkit.images.formats import FORMATS, HEADER_BYTES, candidates, register_heif, sniff_format
from tlkit.images.jpeg import Frame, read_frame
from tlkit.images.refused import RefusedError, not_supported
from tlkit.images.tiff import Directory, has_codec, read_directory
from tlkit.libraries import install_extra
from tlkit.remote import is_remote, read_bytes

MAX_PIXELS: Final = 178_956_970
"""The largest image that is decoded, at a reduced scale or in grey: the size at which Pillow suspects an attack."""


TOO_LARGE: Final = "too large: decoding takes"
"""How the reason begins if an image takes more memory than this process has for decoding."""

# What Pillow says of a sound header that it has no decoder for.
_NO_DECODER: Final = re.compile(
    "unknown pixel mode|unknown data organization|unsupported|not (yet )?supported|cannot handle|"
    "unable to determine|unknown raw mode|unknown mode"
)


@contextmanager
def opened_file(source: str | os.PathLike[str] | bytes) -> Iterator[BinaryIO]:
    """Open a regular file, or bytes as if they were one, and close it at the end.

    A file in an object store is read as a whole.

    Raises:
        RefusedError: There is no such file, it cannot be read, or it is not a regular file.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    if is_remote(source):
        try:
            yield io.BytesIO(read_bytes(os.fspath(source)))
        except OSError as error:
            raise RefusedError(error.strerror or "cannot be read") from error
        return
    try:
        kind = os.stat(source).st_mode  # noqa: PTH116  (faster)
        # Opening a pipe would wait for someone to write to it.
        if not stat.S_ISREG(kind):
            raise RefusedError("a folder" if stat.S_ISDIR(kind) else "not a regular file")
        file = open(source, "rb")  # noqa: PTH123, SIM115
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RefusedError("no such file") from error
    except PermissionError as error:
        raise RefusedError("permission denied") from error
    except (OSError, ValueError) as error:
        raise RefusedError((getattr(error, "strerror", None) or str(error)).lower()) from error
    with file:
        yield file


@dataclass(frozen=True)
class Opened:
    """An image whose header was read, but no pixel.

    Attributes:
        image: The image.
        file: Its whole file.
        directory: Of a TIFF.
        frame: Of a JPEG.
        is_held: Whether the memory for decoding is held from the budget already.
    """

    image: Image.Image
    file: BinaryIO
    directory: Directory | None
    frame: Frame | None
    is_held: bool


@contextmanager
def opened_image(file: BinaryIO, path: str | None) -> Iterator[Opened]:
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
            raise RefusedError("HEIC images require the extra 'heif'", install_extra("heif"))
        formats = ("HEIF",)
    elif not formats:
        raise _unsupported(str(format))
    directory = _sound_directory(file) if format == "TIFF" else None
    frame = read_frame(file) if format == "JPEG" else None
    check_header(format, file, header, frame)
    data = {"PNG": png.pixels_only, "GIF": gif.pixels_only}.get(str(format), lambda same: same)(file)
    at_once = bytes_of_header(format, declared_pixels(format, file, header))
    check_bytes(at_once)
    data.seek(0)
    with decoding.hold(at_once) if at_once else nullcontext():
        try:
            image = Image.open(data, formats=formats)
        except Image.DecompressionBombError as error:
            raise RefusedError(f"too large: {_declared_size(data, formats)}") from error
        except UnidentifiedImageError as error:
            raise _unidentified(data, format, header, directory) from error
        except OSError as error:
            if format and _NO_DECODER.search(str(error).lower()):
                raise not_supported(f"this kind of {format}") from error
            raise
        with image:
            refuse_too_large(image)
            yield Opened(image, file, directory, frame, bool(at_once))


def _sound_directory(file: BinaryIO) -> Directory:
    """Return the directory of a TIFF, unless it is cut off, or Pillow would misread the pixels."""
    directory = read_directory(file)
    if directory.is_cut:
        raise RefusedError("truncated")
    if directory.is_misread:
        raise not_supported(f"TIFF with {directory.layout}")
    return directory


def _unidentified(file: BinaryIO, format: str | None, header: bytes, directory: Directory | None) -> RefusedError:
    """Return why Pillow did not recognise a file that begins like one of a format."""
    if format is None:
        return RefusedError("not an image")
    if format == "PSD" and (header[4:6], header[22:24]) != (b"\0\1", b"\0\x08"):
        return not_supported("PSD that is large or deep")
    if directory is not None:
        sound = directory.is_sound
        return not_supported(f"TIFF with {directory.layout}") if sound else RefusedError("damaged")
    reason = ""
    try:
        file.seek(0)
        Image.OPEN[format][0](file, "").close()
    except Exception as error:  # noqa: BLE001  (a damaged file can make a decoder raise anything)
        reason = str(error).lower()
    return not_supported(f"this kind of {format}") if _NO_DECODER.search(reason) else RefusedError("damaged")


def load_pixels(opened: Opened) -> None:
    """Decode the pixels.

    Raises:
        RefusedError: The image is of a kind that Pillow opens but cannot decode.
        Exception: Whatever a decoder raises on a damaged file.
    """
    image = opened.image
    try:
        image.load()
    except OSError as error:
        if opened.frame is not None and opened.frame.rare:
            raise not_supported(f"{opened.frame.rare} JPEG") from error
        compression = str(image.info.get("compression"))
        if image.format == "TIFF" and not has_codec(compression):
            raise not_supported(f"TIFF compressed with {compression}") from error
        raise


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


def check_bytes(count: int) -> None:
    """Refuse an image that takes more memory to decode than this process has for it.

    Raises:
        RefusedError: It takes more.
    """
    if count > decoding.total:
        raise RefusedError(f"{TOO_LARGE} {count / 1e9:.1f} GB of memory")


def refuse_too_large(image: Image.Image, limit: int = MAX_PIXELS) -> None:
    """Refuse an image above `MAX_PIXELS` or a lower limit; Pillow has a check too, but it can be turned off."""
    if image.width * image.height > limit:
        raise RefusedError(f"too large: {image.width}x{image.height} pixels")
