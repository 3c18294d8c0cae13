"""Images that a program holds in memory: the bytes of a file, a Pillow image, an array."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlkit.errors import TlkitError
from tlkit.images.modes import prepare_key_colour, to_rgb_or_grey
from tlkit.images.read import ReadImage, Size, UnreadableImage, explained, orientation_of, read_details, upright_pixels

HOW = "an array must be uint8, 0 to 255: [height, width, 3] (RGB), [height, width] (grey) or [height, width, 4] (RGBA)"

_loading = threading.Lock()  # Pillow loads an image on first use, and not safely in two threads


@dataclass(frozen=True, eq=False)
class GivenImage:
    """An image in memory; see `given_image`.

    Attributes:
        name: What its row is called, such as ``images[0]``.
        held: The bytes of an image file, or a Pillow image.
        max_pixels: Bytes that declare more pixels are refused; None: the limit of all images.
    """

    name: str
    held: bytes | Image.Image
    max_pixels: int | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def stem(self) -> str:
        """The start of the name of a file about this image."""
        return "image"

    def content(self) -> bytes:
        """Return the SHA-256 of the bytes of the file or, for a Pillow image, of its RGB pixels.

        Raises:
            UnreadableImage: The Pillow image cannot be loaded.
        """
        if isinstance(self.held, bytes):
            return hashlib.sha256(self.held).digest()
        pixels = _read_pillow(self.held, None).pixels
        return hashlib.sha256(b"pixels %d %d " % pixels.shape[:2] + pixels.tobytes()).digest()

    def read(self, size: tuple[int, int] | None = None, *, within: int | None = None) -> ReadImage:
        """Read the image as `tlkit.images.read.read_details` reads a file.

        Args:
            size: (height, width) to which the image is stretched; None keeps its own.
            within: Instead of ``size``, the longest side that the image may keep.

        Raises:
            UnreadableImage: It is not an image, damaged, truncated or too large.
        """
        if isinstance(self.held, bytes):
            return read_details(self.held, size, within=within, count_frames=False, max_pixels=self.max_pixels)
        return _read_pillow(self.held, size or within)


def is_image(value: Any) -> bool:
    """Return whether a value is one image in memory, or at least meant as one."""
    return isinstance(value, (bytes, bytearray, memoryview, Image.Image, np.ndarray))


def given_image(value: Any, name: str) -> GivenImage:
    """Return an image in memory, ready to be read.

    Args:
        value: Bytes of an image file, a Pillow image, or an array as `HOW` says.
        name: What its row is called.

    Raises:
        TlkitError: An array of another type or shape.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return GivenImage(name, bytes(value))
    return GivenImage(name, value if isinstance(value, Image.Image) else _from_array(value, name))


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    shape = "x".join(map(str, array.shape))
    if array.dtype != np.uint8:
        raise TlkitError(f"{name} is an array of {array.dtype} [{shape}]", HOW)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise TlkitError(f"{name} is an array of shape [{shape}]", HOW)
    return Image.fromarray(np.ascontiguousarray(array))


def _read_pillow(image: Image.Image, size: Size) -> ReadImage:
    """Read a Pillow image as if it came from a file: upright, opaque, RGB. The image is not changed.

    The pixels may differ a little from those of its file: a large JPEG file is decoded at a reduced scale.
    """
    try:
        with _loading:
            image.load()
        format, mode = image.format or "", image.mode
        turn = orientation_of(image)
        width, height = image.size if turn < 5 else image.size[::-1]
        if "transparency" in image.info:
            image = image.copy()
            prepare_key_colour(image)
        pixels = upright_pixels(to_rgb_or_grey(image), turn, size)
    except Exception as error:
        reason, hint = explained(error)
        raise UnreadableImage(reason, None, hint) from error
    return ReadImage(pixels, format, mode, width, height, 1, turn)
