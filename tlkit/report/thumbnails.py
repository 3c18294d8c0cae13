"""Thumbnails embedded in a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 288  # pixels of the longer side
QUALITY = 80


@dataclass(frozen=True)
class ExampleImage:
    """An image on a page.

    Attributes:
        file: Its name, as shown.
        image: A data URI; empty if the image can no longer be read.
        actual: The true class.
        answer: The predicted class.
        probability: Predicted probability, 0..1.
    """

    file: str
    image: str
    actual: str
    answer: str
    probability: float


def thumbnail(path: Path, heat: NDArray[np.floating[Any]] | None = None) -> str:
    """Make a JPEG data URI of an image, at most `SIDE` pixels, as tlkit reads it; "" if it cannot be read.

    Args:
        path: The image.
        heat: [rows, columns], 0..1, of the whole image at any size; drawn over a second copy on the right.
    """
    from tlkit.images.batches import load_image
    from tlkit.report.overlay import overlay

    found = load_image(path, None, within=SIDE).image
    if found is None:
        return ""
    image = Image.fromarray(found.pixels)
    if heat is not None:
        plain = np.asarray(image)
        image = Image.fromarray(np.concatenate([plain, overlay(plain, heat)], axis=1))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
