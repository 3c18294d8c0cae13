"""Sheets of images with what was said of them, and of feature maps with the image that they are of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from tlkit.csvtext import escaped
from tlkit.report.plots import ACCENT, FAINT, WRONG, prepare_matplotlib
from tlkit.words import plural

Pixels = NDArray[np.uint8]
SIDE = 256  # pixels of an image on a contact sheet
LINE, TEXT = 18, 13  # pixels of a line of text, and of its letters
GAP, FRAME = 6, 4  # pixels between tiles, and of the frame that says whether an answer is right
INK, SOFT, PAPER = (20, 20, 20), (90, 90, 90), (255, 255, 255)

MAX_CHANNELS = 24  # strongest channels of a stage that are drawn,
CHANNELS_ACROSS = 6  # so many side by side,
CELL = 96  # each of so many pixels
BAR = 18  # pixels of the colour scale
MAX_TEXT = 200  # characters of a line that are looked at


@dataclass(frozen=True, eq=False)
class Tile:
    """One entry of a contact sheet.

    Attributes:
        images: uint8 [h, w, 3] of any size, shown side by side: such as an image and its overlay. At least one.
        lines: Lines of text below, cut to fit.
        right: Whether the answer is right, which the frame's colour shows; None: not known. Say it in words too.
    """

    images: tuple[Pixels, ...]
    lines: tuple[str, ...]
    right: bool | None = None


def contact_sheet(tiles: Sequence[Tile]) -> Image.Image:
    """Draw images in a grid, each with its text.

    Args:
        tiles: At least one. The sheet has room for the widest and highest of them.
    """
    across = max(len(tile.images) for tile in tiles)
    width = across * SIDE + (across - 1) * GAP + 2 * FRAME
    height = SIDE + 2 * FRAME + LINE * max(len(tile.lines) for tile in tiles)
    columns = min(len(tiles), max(1, math.ceil(math.sqrt(len(tiles) * 1.4 / across))))
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        left, top = GAP + number % columns * (width + GAP), GAP + number // columns * (height + GAP)
        box = (left, top, left + width - 1, top + SIDE + 2 * FRAME - 1)
        if tile.right is None:
            pen.rectangle(box, outline=FAINT)
        else:
            pen.rectangle(box, outline=ACCENT if tile.right else WRONG, width=FRAME)
        for place, pixels in enumerate(tile.images):
            small = ImageOps.contain(Image.fromarray(pixels), (SIDE, SIDE))
            x = left + FRAME + place * (SIDE + GAP) + (SIDE - small.width) // 2
            sheet.paste(small, (x, top + FRAME + (SIDE - small.height) // 2))
        for row, line in enumerate(tile.lines):
            at = (left + FRAME, top + SIDE + 2 * FRAME + row * LINE)
            pen.text(at, fitting(line, width - 2 * FRAME), fill=INK if row == 0 else SOFT, font=_font())
    return sheet


def map_sheet(maps: NDArray[np.floating[Any]], pixels: Pixels, stage: str) -> Image.Image:
    """Draw the strongest channels of a stage's feature maps on one scale, beside the image that they are of.

    The strength of a channel is the mean of its absolute values.

    Args:
        maps: [rows, columns, channels] of one image, finite.
        pixels: What the network saw, uint8 [h, w, 3].
        stage: Name of the stage.
    """
    prepare_matplotlib()
    from matplotlib import colormaps

    channels = maps.shape[-1]
    strength = np.abs(maps).mean(axis=(0, 1))
    strongest = np.argsort(-strength, kind="stable")[:MAX_CHANNELS]
    shown = maps[..., strongest].astype(np.float64)
    low, high = float(shown.min()), float(shown.max())
    colours = colormaps["viridis"]((shown - low) / max(high - low, 1e-12))[..., :3]
    coloured = np.round(colours * 255).astype(np.uint8)  # [rows, columns, channels, 3]

    across = min(CHANNELS_ACROSS, len(strongest))
    down = math.ceil(len(strongest) / across)
    left = 2 * CELL + 2 * GAP
    width = left + max(across, 3) * (CELL + GAP)
    height = 2 * LINE + GAP + max(2 * CELL + 3 * LINE + BAR, down * (CELL + LINE))
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    which = f"the {len(strongest)} strongest of {channels:,}" if channels > len(strongest) else f"all {channels}"
    title = f"{stage}: {maps.shape[0]} x {maps.shape[1]}, {plural(channels, 'channel')}; {which} on one scale"
    pen.text((GAP, GAP), fitting(title, width - 2 * GAP), fill=INK, font=_font())
    top = 2 * LINE
    _draw_input(sheet, pen, pixels, top, (low, high), colormaps["viridis"])
    for number, channel in enumerate(strongest):
        x, y = left + number % across * (CELL + GAP), top + number // across * (CELL + LINE)
        cell = Image.fromarray(coloured[:, :, number]).resize((CELL, CELL), Image.Resampling.NEAREST)
        sheet.paste(cell, (x, y))
        pen.text((x, y + CELL), f"channel {channel}", fill=SOFT, font=_font())
    return sheet


def _draw_input(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, pixels: Pixels, top: int, ends: tuple[float, float], colours: Any
) -> None:
    """Draw the image that the maps are of, and below it the scale of their colours."""
    small = Image.fromarray(pixels).resize((2 * CELL, 2 * CELL), Image.Resampling.BICUBIC)
    sheet.paste(small, (GAP, top))
    pen.text((GAP, top + 2 * CELL), f"the input, {pixels.shape[1]} x {pixels.shape[0]}", fill=SOFT, font=_font())
    y = top + 2 * CELL + LINE + GAP
    scale = np.round(colours(np.linspace(0, 1, 2 * CELL))[:, :3] * 255).astype(np.uint8)
    sheet.paste(Image.fromarray(np.repeat(scale[None], BAR, axis=0)), (GAP, y))
    first, last = (f"{value:.3g}" for value in ends)
    pen.text((GAP, y + BAR), first, fill=SOFT, font=_font())
    pen.text((GAP + 2 * CELL - pen.textlength(last, font=_font()), y + BAR), last, fill=SOFT, font=_font())


def fitting(text: str, width: int) -> str:
    """Cut a text to what fits into so many pixels; characters that the font lacks become "?"."""
    font, known = _font(), _characters()
    text = "".join(each if ord(each) in known else "?" for each in escaped(text)[:MAX_TEXT])
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with matplotlib: Latin, Greek, Cyrillic and more."""
    return ImageFont.truetype(_font_file(), TEXT)


@cache
def _characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(_font_file()).get_charmap())


def _font_file() -> str:
    prepare_matplotlib()
    import matplotlib

    return f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
