from __future__ import annotations

import numpy as np
import pytest

from tlkit.report.overlay import LINE, MAX_CHANNELS, TILE, contact_sheet, map_grid, overlay


def test_the_map_lies_on_the_pixels_it_belongs_to() -> None:
    """A hot cell in the upper left quarter colours that quarter, of an image of any shape."""
    heat = np.zeros((4, 4), np.float32)
    heat[:2, :2] = 1
    image = np.full((60, 200, 3), 128, np.uint8)
    drawn = overlay(image, heat)
    assert drawn.shape == image.shape
    apart = np.abs(drawn.astype(int) - overlay(image, np.zeros((4, 4)))).sum(axis=-1)
    assert apart[:20, :70].min() > 20
    assert apart[45:, :].max() == 0
    assert apart[:, 150:].max() == 0


@pytest.mark.parametrize("count", [1, 2, 5, 48])
def test_a_sheet_has_room_for_all(count: int) -> None:
    images = [np.full((10 + number, 300, 3), number, np.uint8) for number in range(count)]
    sheet = contact_sheet(images, [f"ü 漢 {number} {'long ' * 40}" for number in range(count)])
    columns, rows = sheet.width // TILE, sheet.height // (TILE + LINE)
    assert columns * rows >= count > columns * (rows - 1)
    assert np.asarray(sheet).min() == 0


@pytest.mark.parametrize("channels", [1, 3, 64, 320])
def test_maps_are_drawn_each_in_its_own_range(channels: int) -> None:
    maps = np.random.default_rng(0).normal(0, 100, (7, 9, channels))
    maps[..., 0] = 5  # a constant one is no reason to divide by nothing
    grid = np.asarray(map_grid(maps))
    assert grid.shape[0] * grid.shape[1] >= min(channels, MAX_CHANNELS) * 74 * 74
    if channels > 1:
        assert (grid.min(), grid.max()) == (0, 255)
