"""Read one image file into one RGB array. All images are read here, in training as in predict.

    >>> read_image("photo.jpg", size=(224, 224)).shape
    (224, 224, 3)

The result is always 8-bit RGB, upright: EXIF rotation is applied, transparency is laid over white, grey becomes three
equal channels, deep integers and floats are scaled by their range, other colour spaces are converted, and only the
first of several frames or pages is read. Embedded ICC profiles are *not* applied: ImageNet networks were trained on
pixels as stored.

A file is either read completely or raises `UnreadableImage`. There is no half-grey image, no black placeholder and no
warning.
"""

from __future__ import annotations

import logging
import os
import traceback
import warnings
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from tlkit.errors import TlkitError
from tlkit.images.budget import decoding
from tlkit.images.cost import bytes_to_decode
from tlkit.images.formats import IMAGE_SUFFIXES, sniff_format, suffix_matches
from tlkit.images.jpeg import Frame, is_whole
from tlkit.images.modes import BAND_PIXELS, bands, prepare_key_colour, to_rgb_or_grey
from tlkit.images.opening import (
    MAX_PIXELS,
    Opened,
    check_bytes,
    load_pixels,
    opened_file,
    opened_image,
    refuse_too_large,
    tail,
)
from tlkit.images.refused import RefusedError

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "READING_VERSION",
    "ReadImage",
    "UnreadableImage",
    "read_details",
    "read_image",
    "sniff_format",
    "suffix_matches",
]

Size: TypeAlias = "tuple[int, int] | int | None"

READING_VERSION: Final = 2
"""Incremented whenever the pixels read from some file would change. It is part of the key of cached features."""

_ORIENTATION_TAG: Final = 0x0112
_SAY_ORIENTATION: Final = frozenset({"exif", "xmp"})  # metadata of a JPEG that Pillow looks into
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _silence_pillow() -> None:
    """Silence Pillow's warnings about odd files; real problems are raised as `UnreadableImage`.

    Only a filter is safe with threads: ``warnings.catch_warnings`` changes the filters of all threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())


_silence_pillow()


class UnreadableImage(TlkitError):  # noqa: N818 - users see this name, and it is clear without "Error"
    """A file that cannot be read as an image.

    Args:
        reason: Why, in a few words, such as ``"truncated"``.
        source: The file's path; None: not a file.
        hint: How to fix it, in one line.

    Attributes:
        reason: As above.
        source: As above.
    """

    def __init__(self, reason: str, source: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"cannot read {source or 'the image'}: {reason}", hint)
        self.reason = reason
        self.source = source

    def __reduce__(self) -> tuple[Any, ...]:
        """Make the error picklable, so that it can be passed between processes."""
        return type(self), (self.reason, self.source, self.hint)


@dataclass(frozen=True, eq=False)
class ReadImage:
    """An image and the properties of its file.

    Attributes:
        pixels: uint8 [height, width, 3], RGB, 0..255, upright. Read-only.
        format: The file's actual format, such as ``"JPEG"``.
        mode: Pillow mode of the stored pixels, such as ``"CMYK"``.
        width: Width of the image in the file, in pixels, after EXIF rotation.
        height: Height of the image in the file, in pixels, after EXIF rotation.
        frames: Number of frames or pages in the file; `pixels` is the first.
        orientation: The EXIF orientation that was applied, 1..8; 1 is upright.
    """

    pixels: npt.NDArray[np.uint8]
    format: str
    mode: str
    width: int
    height: int
    frames: int
    orientation: int


def read_image(source: str | os.PathLike[str] | bytes, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """Read an image's pixels.

    Args:
        source: A file's path, or its content as bytes.
        size: (height, width) to which the image is stretched; None keeps its own.

    Returns:
        uint8 [height, width, 3], RGB, 0..255, upright. Read-only.

    Raises:
        UnreadableImage: The file is missing, not an image, damaged, truncated or too large.
        ValueError: A side of `size` is below 1.
    """
    return read_details(source, size, count_frames=False).pixels


def read_details(
    source: str | os.PathLike[str] | bytes,
    size: tuple[int, int] | None = None,
    *,
    within: int | None = None,
    name: str | None = None,
    count_frames: bool = True,
    max_pixels: int | None = None,
) -> ReadImage:
    """Read an image's pixels and the properties of its file.

    Args:
        source: A file's path, or its content as bytes.
        size: (height, width) to which the image is stretched; None keeps its own.
        within: Instead of ``size``, the longest side that the image may keep; a larger one is scaled down.
        name: Name of the file that bytes are from; its suffix counts for TGA, which begins with no mark of its own.
        count_frames: Whether to count frames, which needs the whole file for some formats; if False, the count is 1.
        max_pixels: Refuse an image with more pixels; None: with more than `MAX_PIXELS`.

    Returns:
        The image.

    Raises:
        UnreadableImage: The file is missing, not an image, damaged, truncated or too large.
        ValueError: A side of `size`, or ``within``, is below 1.
    """
    if min(size or (1,)) < 1 or (within is not None and within < 1):
        raise ValueError(f"size must be at least 1x1, not {size or within}")
    path = None if isinstance(source, bytes) else os.fspath(source)
    try:
        most = min(max_pixels or MAX_PIXELS, MAX_PIXELS)
        return _opened_and_decoded(source, path or name, size or within, count_frames=count_frames, max_pixels=most)
    except Exception as error:
        # A damaged file can make a decoder raise anything at all.
        reason, hint = explained(error)
        # A list of errors must not keep every half-decoded image alive.
        traceback.clear_frames(error.__traceback__)
        raise UnreadableImage(reason, path, hint) from error


def _opened_and_decoded(
    source: str | os.PathLike[str] | bytes, path: str | None, size: Size, *, count_frames: bool, max_pixels: int
) -> ReadImage:
    """Read an image; a separate call, so that its memory can be released if it fails."""
    with opened_file(source) as file, opened_image(file, path) as opened:
        image = opened.image
        refuse_too_large(image, max_pixels)
        # Pillow would have to decode a PNG to find out; a TIFF it rotates by itself while decoding.
        orientation = 1 if image.format == "PNG" else orientation_of(image)
        stored = image.size
        if size is not None:  # JPEG at 1/2, 1/4 or 1/8 of its size: cheaper, and still at least twice the target
            across, down = _swapped_if(orientation >= 5, final_size(image, orientation, size)[::-1])
            image.draft(None, (2 * across, 2 * down))  # no mode is given, so that the colours stay as stored
        count = 0 if opened.is_held else bytes_to_decode(image, file, opened.directory, opened.frame)
        check_bytes(count)
        with decoding.hold(count) if count else nullcontext():
            try:
                return _decoded(opened, stored, orientation, size, count_frames=count_frames)
            finally:
                image.close()  # free what is held


def explained(error: Exception) -> tuple[str, str | None]:
    """Return the short reason, and the hint if any, for an exception raised while reading."""
    if isinstance(error, RefusedError):
        return error.reason, error.hint
    if isinstance(error, MemoryError):
        return "too large for the available memory", None
    text = str(error).lower()
    if isinstance(error, EOFError) or "truncated" in text or "unexpected end" in text or "not enough" in text:
        return "truncated", None
    if isinstance(error, Image.DecompressionBombError) or "too large" in text:
        return "damaged: it holds more data than an image can", None
    return "damaged", None


def _decoded(opened: Opened, stored: tuple[int, int], orientation: int, size: Size, *, count_frames: bool) -> ReadImage:
    """Decode an opened image.

    Args:
        opened: The image, with its reduced scale set.
        stored: (width, height) before that.
        orientation: EXIF orientation as far as it is known before decoding, 1..8.
        size: As for `read_details`, or its ``within``.
        count_frames: As there.
    """
    image = opened.image
    format = "HEIC" if image.format == "HEIF" else str(image.format)
    mode = image.mode
    prepare_key_colour(image)
    load_pixels(opened)
    refuse_too_large(image)
    if opened.frame is not None and _stops_in_zeros(opened.file, opened.frame):
        raise RefusedError("truncated")
    # The declared size of an icon may be wrong, and only the decoder finds out; that of a JPEG may be reduced.
    width, height = stored if format in ("JPEG", "MPO") else image.size
    turn = orientation if opened.frame is not None else orientation_of(image)  # of a JPEG it is known by its header
    frames = _frames(image) if count_frames else 1
    pixels = upright_pixels(to_rgb_or_grey(image), turn, size)
    width, height = _swapped_if(turn >= 5, (width, height))
    return ReadImage(pixels, format, mode, width, height, frames, max(orientation, turn))


def final_size(image: Image.Image, turn: int, size: Size) -> tuple[int, int]:
    """Return the (height, width) of an image once it is upright and scaled.

    Args:
        image: The image as stored.
        turn: EXIF orientation, 1..8.
        size: (height, width), the longest side that it may keep, or None for its own size.
    """
    if isinstance(size, tuple):
        return size
    width, height = _swapped_if(turn >= 5, image.size)
    scale = min(1.0, (size or max(width, height)) / max(width, height))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _stops_in_zeros(file: BinaryIO, frame: Frame) -> bool:
    """Return whether a JPEG's pixels end in zeros, as after an interrupted download.

    The decoder would read the zeros as grey. Zeros after the end of the image do no harm.
    """
    return tail(file, 16) == bytes(16) and not is_whole(file, frame)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1..8; broken EXIF data counts as upright."""
    if image.format in ("JPEG", "MPO") and not _SAY_ORIENTATION & image.info.keys():
        return 1  # most small images; Pillow takes some time to say so
    # Broken EXIF data can make Pillow raise anything, and is no reason to refuse the image.
    with suppress(Exception):
        value = image.getexif().get(_ORIENTATION_TAG)
        if value in _TURNS:
            return int(value)
    return 1


def _frames(image: Image.Image) -> int:
    """Return the number of frames or pages; 1 if those after the first are damaged. The layers of a PSD count as 1."""
    if image.format != "PSD":
        with suppress(Exception):
            return max(1, int(getattr(image, "n_frames", 1)))
    return 1


def upright_pixels(image: Image.Image, turn: int, size: Size) -> npt.NDArray[np.uint8]:
    """Resize, then rotate: rotating the smaller image is faster.

    Args:
        image: Mode RGB or L.
        turn: EXIF orientation, 1..8.
        size: (height, width) of the upright result, or its longest side at most; None keeps the image's own.

    Returns:
        uint8 [height, width, 3], read-only.
    """
    if size is not None:
        target = _swapped_if(turn >= 5, final_size(image, turn, size)[::-1])
        if image.size != target:
            image = image.resize(target, Image.Resampling.BICUBIC, reducing_gap=2.0)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if turn in _TURNS:
        image = image.transpose(_TURNS[turn])
    if image.width * image.height <= BAND_PIXELS:
        return np.asarray(image)
    # In bands: NumPy would make two more copies of the whole image.
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, bottom in bands(image):
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    pixels.flags.writeable = False
    return pixels


def _swapped_if(condition: bool, pair: tuple[int, int]) -> tuple[int, int]:
    """Return the pair, swapped if ``condition`` holds."""
    return pair[::-1] if condition else pair
