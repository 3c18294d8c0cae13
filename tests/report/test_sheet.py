from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageColor

from tlkit.report.plots import ACCENT, FAINT, WRONG
from tlkit.report.sheet import (
    CELL,
    FRAME,
    GAP,
    LINE,
    MAX_CHANNELS,
    SIDE,
    Tile,
    contact_sheet,
    fitting,
    map_sheet,
)


def plain(value: int, height: int = 30, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize("count", [1, 2, 5, 48])
def test_a_sheet_has_room_for_all(count: int) -> None:
    tiles = [Tile((plain(number),), (f"ü 漢 {number} {'long ' * 40}",)) for number in range(count)]
    sheet = contact_sheet(tiles)
    width, height = SIDE + 2 * FRAME + GAP, SIDE + 2 * FRAME + LINE + GAP
    columns, rows = (sheet.width - GAP) // width, (sheet.height - GAP) // height
    assert (columns * width + GAP, rows * height + GAP) == sheet.size
    assert columns * rows >= count > columns * (rows - 1)


def test_images_lie_side_by_side_in_a_frame_that_says_whether_the_answer_is_right() -> None:
    tiles = [Tile((plain(10, 300, 300), plain(200, 300, 300)), ("cat",), right) for right in (True, False, None)]
    sheet = np.asarray(contact_sheet(tiles))
    width, height = 2 * SIDE + GAP + 2 * FRAME, SIDE + 2 * FRAME
    corners = [(0, 0), (0, width + GAP), (height + LINE + GAP, 0)]
    for (y, x), colour in zip(corners, (ACCENT, WRONG, FAINT), strict=True):
        assert tuple(sheet[y + GAP, x + GAP + 50]) == ImageColor.getrgb(colour)
        middle = y + GAP + FRAME + SIDE // 2
        assert tuple(sheet[middle, x + GAP + FRAME + 5]) == (10, 10, 10)
        assert tuple(sheet[middle, x + GAP + FRAME + SIDE + GAP + 5]) == (200, 200, 200)


def test_texts_are_cut_to_fit_and_have_only_characters_that_there_are() -> None:
    assert fitting("кот, γάτα, café", 500) == "кот, γάτα, café"
    assert fitting("漢 cat", 500) == "? cat"
    cut = fitting("a long name " * 50, 100)
    assert cut.startswith("a long")
    assert cut.endswith("...")
    assert len(fitting("x" * 100_000, 300)) < 60


@pytest.mark.parametrize("channels", [1, 3, 320])
def test_the_strongest_maps_are_drawn_on_one_scale(channels: int) -> None:
    maps = np.random.default_rng(0).uniform(0, 1, (7, 9, channels)).astype(np.float32)
    maps[..., -1] = 4  # the strongest, and the end of the scale
    sheet = np.asarray(map_sheet(maps, plain(77, 40, 40), "stage3"))
    assert sheet.shape[1] >= 2 * CELL + min(channels, MAX_CHANNELS, 6) * CELL
    assert tuple(sheet[2 * LINE + CELL, GAP + CELL]) == (77, 77, 77)  # the input
    first = sheet[2 * LINE + CELL // 2, 2 * CELL + 2 * GAP + CELL // 2]
    if channels > 1:
        assert tuple(first) == (253, 231, 37)  # the light end of viridis
        assert tuple(sheet[2 * LINE + CELL // 2, 2 * CELL + 3 * GAP + CELL + CELL // 2]) != tuple(first)


def test_a_constant_map_is_no_reason_to_divide_by_nothing() -> None:
    assert map_sheet(np.zeros((4, 4, 2)), plain(0), "stage1").size[0] > 2 * CELL
