"""Augmentation in TensorFlow: rotate, shift, zoom, mirror and relight each image of a batch differently.

All random numbers are drawn outside the graph, from seed and step. A step is therefore the same after a resume, on
several replicas, and if a batch is computed in parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.runtime import import_tensorflow
from tlkit.plan.choices import LIGHT, NONE, STRONG

DRAWS = 11  # random numbers per image


@dataclass(frozen=True)
class Amount:
    """Ranges of the random changes to an image.

    Attributes:
        zoom: Smallest share of each side that stays in view, 0..1.
        stretch: Largest ratio between the zooms of the two sides, >= 1.
        turn: Largest rotation in either direction, degrees.
        light: Largest relative change of brightness, contrast and saturation.
        hole: Side of the grey square that covers part of the image, as a share of the image's side; 0: none.
    """

    zoom: float
    stretch: float
    turn: float
    light: float
    hole: float


# zoom and stretch follow the random resized crop of Szegedy et al. 2015, milder for short training on few images; the
# hole is Cutout (DeVries & Taylor 2017)
AMOUNTS = {
    LIGHT: Amount(zoom=0.8, stretch=1.1, turn=8.0, light=0.15, hole=0.0),
    STRONG: Amount(zoom=0.55, stretch=1.3, turn=15.0, light=0.3, hole=0.3),
}


def draw(images: int, seed: int, step: int) -> NDArray[np.float32]:
    """Draw the random numbers of one batch: float32 [images, DRAWS], uniform in 0..1."""
    return np.random.default_rng([seed, step]).random((images, DRAWS), dtype=np.float32)


def augment(pixels: Any, draws: Any, kind: str, flip: bool) -> Any:
    """Augment every image of a batch with its own random numbers.

    Args:
        pixels: Tensor, float32 [n, h, w, 3], RGB, 0..255.
        draws: Tensor, float32 [n, DRAWS], from `draw`.
        kind: "none", "light" or "strong".
        flip: Whether to mirror half of the images; ignored with "none".

    Returns:
        Tensor, float32 [n, h, w, 3], 0..255. Areas outside the image are filled by reflection at its edges.
    """
    if kind == NONE:
        return pixels
    amount = AMOUNTS[kind]
    return _cover(_light(_move(pixels, draws, amount, flip), draws, amount), draws, amount)


def _move(pixels: Any, draws: Any, amount: Amount, flip: bool) -> Any:
    """Zoom, stretch, shift, rotate and mirror in one resampling."""
    tf = import_tensorflow()
    shape = tf.shape(pixels)
    height, width = tf.cast(shape[1], tf.float32), tf.cast(shape[2], tf.float32)
    side = amount.zoom + (1 - amount.zoom) * draws[:, 0]
    ratio = tf.exp(math.log(amount.stretch) * (draws[:, 1] - 0.5))
    high, wide = tf.minimum(1.0, side * ratio), tf.minimum(1.0, side / ratio)
    down, right = (1 - high) * (draws[:, 2] - 0.5), (1 - wide) * (draws[:, 3] - 0.5)
    angle = math.radians(amount.turn) * (2 * draws[:, 4] - 1)
    mirror = tf.where(draws[:, 5] < 0.5, -1.0, 1.0) if flip else tf.ones_like(angle)
    cos, sin = tf.cos(angle), tf.sin(angle)
    # maps output coordinates, relative to the centre, to input coordinates
    x_of_x, x_of_y = mirror * cos * wide, -sin * wide
    y_of_x, y_of_y = mirror * sin * high, cos * high
    x_middle, y_middle = (width - 1) / 2, (height - 1) / 2
    x_shift = x_middle + right * width - x_of_x * x_middle - x_of_y * y_middle
    y_shift = y_middle + down * height - y_of_x * x_middle - y_of_y * y_middle
    zero = tf.zeros_like(angle)
    matrix = tf.stack([x_of_x, x_of_y, x_shift, y_of_x, y_of_y, y_shift, zero, zero], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=matrix,
        output_shape=shape[1:3],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def _light(pixels: Any, draws: Any, amount: Amount) -> Any:
    """Change brightness, contrast and saturation."""
    tf = import_tensorflow()
    factors = 1 + amount.light * (2 * draws[:, 6:9] - 1)
    brightness, contrast, saturation = (factors[:, i, None, None, None] for i in range(3))
    grey = tf.reduce_mean(pixels, axis=3, keepdims=True)
    middle = tf.reduce_mean(grey, axis=(1, 2), keepdims=True)
    # one factor each for the image and its grey version, and one offset: fewer passes over memory
    changed = pixels * (brightness * contrast * saturation) + grey * (brightness * contrast * (1 - saturation))
    return tf.clip_by_value(changed + middle * (brightness * (1 - contrast)), 0.0, 255.0)


def _cover(pixels: Any, draws: Any, amount: Amount) -> Any:
    """Cover part of each image with a grey square."""
    if not amount.hole:
        return pixels
    tf = import_tensorflow()
    shape = tf.shape(pixels)

    def inside(size: Any, middle: Any) -> Any:
        places = (tf.cast(tf.range(size), tf.float32) + 0.5) / tf.cast(size, tf.float32)
        return tf.abs(places[None] - middle[:, None]) < amount.hole / 2

    rows, columns = inside(shape[1], draws[:, 9]), inside(shape[2], draws[:, 10])
    hole = tf.logical_and(rows[:, :, None], columns[:, None, :])[..., None]
    return tf.where(hole, tf.constant(127.0), pixels)
