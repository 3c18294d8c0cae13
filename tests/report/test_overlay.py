from __future__ import annotations

import numpy as np

from tlkit.report.overlay import overlay


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
