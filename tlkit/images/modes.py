"""Convert pixels of any Pillow mode to 8-bit grey or RGB without losing visible detail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

# Bit depths that sensors and scanners use: 12-bit data in a 16-bit file is common, and almost black if read as 16-bit.
_DEPTHS: Final = (8, 10, 12, 14, 16, 24, 32)
BAND_PIXELS: Final = 1 << 20
"""Pixels that are converted at once, so that a large image never exists several times."""

_PHOTOMETRIC: Final = 262
_WHITE_IS_ZERO: Final = 0
_SAMPLE_FORMAT: Final = 339
_UNSIGNED: Final = 1


def prepare_key_colour(image: Image.Image) -> None:
    """Scale a PNG's transparent colour as Pillow will scale the pixels.

    The file stores the colour at its own bit depth. Pillow scales the pixels to 8 bits, but not this colour. A colour
    that no pixel can have is removed.

    Args:
        image: An opened image that is not loaded yet; its ``info`` is changed.
    """
    key = image.info.get("transparency")
    if image.mode not in ("L", "RGB") or not isinstance(key, (int, tuple)):
        return
    tiles = getattr(image, "tile", None)
    raw = tiles[0][3] if tiles else None
    raw = raw[0] if isinstance(raw, tuple) and raw else raw
    if isinstance(key, int):
        key = key * {"L;2": 85, "L;4": 17}.get(str(raw), 1)
        fits = 0 <= key <= 255
    else:
        key = tuple(part >> 8 for part in key) if raw == "RGB;16B" else key
        fits = len(key) == 3 and all(0 <= part <= 255 for part in key)
    if fits:
        image.info["transparency"] = key
    else:
        del image.info["transparency"]


def to_rgb_or_grey(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to ``"RGB"``, or to ``"L"`` if all three channels would be equal.

    Transparent pixels are laid over white. Integers and floats beyond 8 bits are scaled by their range, see
    `scale_to_8_bits`. Pillow converts colour spaces; embedded ICC profiles are not applied.

    Args:
        image: A Pillow image with its pixels loaded. It is returned unchanged if there is nothing to convert.

    Raises:
        ValueError: Pillow cannot convert this mode to RGB.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_wide_to_grey(image))
    if image.has_transparency_data:
        white = Image.new("RGB", image.size, "white")
        for top, bottom in bands(image):
            band = image.crop((0, top, image.width, bottom))
            if band.mode in ("La", "RGBa"):
                band = band.convert("LA" if band.mode == "La" else "RGBA")
            rgba = band.convert("RGBA")
            # Pasting through the mask rounds exactly; alpha_composite may be off by one.
            white.paste(rgba, (0, top), mask=rgba)
        return white
    if image.mode in ("RGB", "L"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def bands(image: Image.Image) -> Iterator[tuple[int, int]]:
    """Yield (first row, row after the last) of bands of at most `BAND_PIXELS` pixels, or one row."""
    rows = max(1, BAND_PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        yield top, min(image.height, top + rows)


def _wide_to_grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Scale a deep one-channel image to uint8 [height, width], with its key colour made white."""
    places = tuple(bands(image))
    low, high = _finite_range(_band(image, place) for place in places)
    # Pillow keeps unsigned 32-bit samples in a signed mode, so large values come out negative.
    as_unsigned = image.mode == "I" and low < 0 and _is_unsigned(image)
    if as_unsigned:
        low, high = _finite_range(_band(image, place).view(np.uint32) for place in places)
    key = image.info.get("transparency")
    inverted = _is_white_zero(image)
    grey = np.empty((image.height, image.width), np.uint8)
    for top, bottom in places:
        values = _band(image, (top, bottom))
        grey[top:bottom] = _scaled(values.view(np.uint32) if as_unsigned else values, low, high)
        if inverted:
            grey[top:bottom] = 255 - grey[top:bottom]
        if isinstance(key, int):
            grey[top:bottom][values == key] = 255
    return grey


def _band(image: Image.Image, place: tuple[int, int]) -> npt.NDArray[Any]:
    return np.asarray(image.crop((0, place[0], image.width, place[1])))


def _is_white_zero(image: Image.Image) -> bool:
    """Return whether the image is a TIFF in which 0 is white; Pillow inverts those of 8 bits and fewer itself."""
    return image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _is_unsigned(image: Image.Image) -> bool:
    """Return whether the image is a TIFF with unsigned samples."""
    formats = getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, (_UNSIGNED,))
    return image.format == "TIFF" and tuple(formats)[:1] == (_UNSIGNED,)


def scale_to_8_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Scale integers or floats of any range to 0..255 without clipping.

    Integers are divided by the maximum of the smallest bit depth that holds them (8, 10, 12, 14, 16, 24 or 32 bits), so
    that images of one sensor keep their relative brightness. Floats in 0..1 are multiplied by 255; floats in 0..255 are
    only rounded. All other values, such as negative ones, are stretched from their minimum to their maximum. NaN
    becomes black, infinities become black or white.

    Args:
        values: [height, width], integers or floats.

    Returns:
        uint8 [height, width], 0..255.
    """
    return _scaled(values, *_finite_range([values]))


def _scaled(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Scale values of which ``low`` and ``high`` are the lowest and highest finite ones, of this part or the whole."""
    offset, scale = _offset_and_scale(low, high, np.issubdtype(values.dtype, np.integer))
    grey = np.empty(values.shape, np.uint8)
    # In bands, so that a large image never exists as float64.
    rows = max(1, BAND_PIXELS // max(1, values.shape[1]))
    for start in range(0, values.shape[0], rows):
        with np.errstate(invalid="ignore"):  # damaged files may hold signalling NaNs
            band = values[start : start + rows].astype(np.float64)
        np.nan_to_num(band, copy=False, nan=offset, posinf=high, neginf=low)
        grey[start : start + rows] = np.rint((band - offset) * scale)
    return grey


def _finite_range(parts: Iterable[npt.NDArray[Any]]) -> tuple[float, float]:
    """Return the lowest and highest finite value of all parts; (0, 0) if there is none."""
    lows, highs = [], []
    for values in parts:
        if np.issubdtype(values.dtype, np.integer):
            lows.append(float(values.min()))
            highs.append(float(values.max()))
        elif (finite := np.isfinite(values)).any():
            lows.append(float(values.min(where=finite, initial=np.inf)))
            highs.append(float(values.max(where=finite, initial=-np.inf)))
    return min(lows, default=0.0), max(highs, default=0.0)


def _offset_and_scale(low: float, high: float, integers: bool) -> tuple[float, float]:
    """Return what to subtract and then multiply by to map low..high into 0..255."""
    if low >= 0 and integers:
        top = next(2**depth - 1 for depth in _DEPTHS if high < 2**depth)
        return 0.0, 255 / top
    if low >= 0 and high <= 1:
        return 0.0, 255.0
    if low >= 0 and high <= 255:
        return 0.0, 1.0
    return low, 255 / (high - low) if high > low else 0.0
