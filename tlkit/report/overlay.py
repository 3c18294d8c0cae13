"""Heat maps over images, contact sheets, and grids of feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tlkit.csvtext import escaped
from tlkit.evaluation.grad_cam import resized
from tlkit.report.plots import prepare_matplotlib

Pixels = NDArray[np.uint8]
MIN_TINT, MAX_TINT = 0.25, 0.6  # share of the heat map's colour where the map is 0 and where it is 1
TILE, LINE = 224, 16  # pixels of a sheet's images and of the caption below
MAX_CHANNELS = 64


def overlay(pixels: Pixels, heat: NDArray[np.floating[Any]]) -> Pixels:
    """Draw a heat map over an image, at the image's size.

    Args:
        pixels: uint8 [h, w, 3], RGB.
        heat: [rows, columns], 0..1, of the whole image at any size.
    """
    prepare_matplotlib()
    from matplotlib import colormaps

    large = np.clip(resized(heat, pixels.shape[:2]), 0, 1)
    colour = colormaps["viridis"](large)[..., :3] * 255
    share = (MIN_TINT + (MAX_TINT - MIN_TINT) * large)[..., None]
    return np.asarray(np.round(pixels * (1 - share) + colour * share), dtype=np.uint8)


def contact_sheet(images: Sequence[Pixels], captions: Sequence[str]) -> Image.Image:
    """Draw images in a grid, each with a caption.

    Args:
        images: uint8 [h, w, 3] of any size, at least one.
        captions: One per image, cut to fit.
    """
    columns = min(len(images), max(1, math.ceil(math.sqrt(len(images) * 1.4))))
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * TILE, rows * (TILE + LINE)), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for number, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        tile = Image.fromarray(pixels)
        tile.thumbnail((TILE - 8, TILE - 8))
        left, top = number % columns * TILE, number // columns * (TILE + LINE)
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        text = (
            escaped(caption).encode("latin-1", "replace").decode("latin-1")
        )  # Pillow's built-in font has no more characters
        while text and pen.textlength(text) > TILE - 8:
            text = text[:-1]
        pen.text((left + 4, top + TILE), text, fill=(0, 0, 0))
    return sheet


def map_grid(maps: NDArray[np.floating[Any]], cell: int = 72) -> Image.Image:
    """Draw the first channels of feature maps in a grid of grey images, each scaled to its own range.

    Args:
        maps: [rows, columns, channels] of one image; at most `MAX_CHANNELS` are drawn.
        cell: Side of one map in pixels.
    """
    count = min(MAX_CHANNELS, maps.shape[-1])
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = Image.new("L", (columns * (cell + 2), rows * (cell + 2)), 255)
    for channel in range(count):
        values = maps[..., channel].astype(np.float32)
        low, high = float(values.min()), float(values.max())
        grey = np.round((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
        image = Image.fromarray(grey).resize((cell, cell), Image.Resampling.NEAREST)
        grid.paste(image, (channel % columns * (cell + 2) + 1, channel // columns * (cell + 2) + 1))
    return grid
