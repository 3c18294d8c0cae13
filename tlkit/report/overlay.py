"""Heat maps over images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.evaluation.grad_cam import resized
from tlkit.report.plots import prepare_matplotlib

Pixels = NDArray[np.uint8]
MIN_TINT, MAX_TINT = 0.25, 0.6  # share of the heat map's colour where the map is 0 and where it is 1


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
