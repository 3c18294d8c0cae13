"""How many bytes decoding an image takes, known from its header.

Measured with Pillow 13 on images of 16 megapixels, peak memory of the process: see `docs/decisions/059`.
"""

from __future__ import annotations

from typing import Any, BinaryIO, Final

from PIL import Image

from tlkit.images.jpeg import Frame
from tlkit.images.jpeg2000 import tile_pixels
from tlkit.images.modes import BAND_PIXELS
from tlkit.images.tiff import Directory

# Bytes a pixel in Pillow's memory; all other modes: 4.
_STORED: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# Bytes a pixel while decoding, the result included, where the decoder works on the whole image.
_WHOLE: Final = {"WEBP": 20, "AVIF": 20, "HEIF": 20, "HEIC": 20, "ICO": 20}
_OWN_BUFFER: Final = {"QOI": 4, "SGI": 4, "PPM": 8, "PSD": 0}  # besides the result
_BANDS: Final = 20 << 20  # bytes: what the conversion of a band takes
_JPEG2000_SAMPLE = 5.2  # bytes a sample of a tile
_JPEG2000_LEAST = 8  # bytes a pixel at least: tiles take time too


def bytes_to_decode(image: Image.Image, file: BinaryIO, directory: Directory | None, frame: Frame | None) -> int:
    """Return the peak memory of decoding an opened image and converting it to RGB, without the result's own copy.

    Args:
        image: The opened image, with its draft set; its pixels are not loaded.
        file: The whole file.
        directory: Of a TIFF.
        frame: Of a JPEG.
    """
    pixels = image.width * image.height
    stored = _STORED.get(image.mode, 4)
    format = str(image.format)
    if format in _WHOLE:
        return _WHOLE[format] * pixels
    converted = _converted(image)
    each = stored + converted + (0 if format == "PPM" and _is_raw(image) else _OWN_BUFFER.get(format, 0))
    bands = _BANDS if converted and pixels > BAND_PIXELS else 0
    if frame is not None:
        return each * pixels + frame.buffered + bands
    if format == "JPEG2000":
        samples = len(image.getbands()) * min(pixels, tile_pixels(file) or pixels)
        return max(_JPEG2000_LEAST, each) * pixels + int(_JPEG2000_SAMPLE * samples)
    if directory is not None:
        return each * pixels + directory.buffer_bytes + bands
    return each * pixels + bands


def _is_raw(image: Image.Image) -> bool:
    tiles: Any = getattr(image, "tile", None)
    return bool(tiles) and tiles[0][0] == "raw"


def _converted(image: Image.Image) -> int:
    """Return the bytes a pixel of the image that `to_rgb_or_grey` makes, besides the image itself."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return 2
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return 0
    return 1 if image.mode == "1" else 4


def bytes_of_header(format: str | None, pixels: int) -> int:
    """Return the peak memory of a format that is decoded, or begun to be, as soon as Pillow opens it.

    Args:
        format: Its format.
        pixels: What the header declares.
    """
    return _WHOLE.get(str(format), 0) * pixels
