"""What the tests of one's own backbones share: scikit-learn's digits as images, a small network that knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE, EACH = 16, 14  # pixels, images a class that the network was not trained on


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 [n, 16, 16, 3], each in ink and on paper of its own colour, and the digits."""
    from sklearn.datasets import load_digits

    found, rng = load_digits(), np.random.default_rng(0)
    strength = np.kron(found.images / 16, np.ones((2, 2)))[..., None]
    ink, paper = (rng.uniform(*ends, (len(strength), 1, 1, 3)) for ends in ((200, 255), (0, 30)))
    return (paper + (ink - paper) * strength).astype(np.uint8), found.target


def held_out(labels: np.ndarray) -> np.ndarray:
    """Which images the network is not trained on: the first of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == digit)[:EACH] for digit in range(10)]))


def write_folder(root: Path) -> Path:
    """A folder with the held out images, one sub-folder a digit."""
    images, labels = digits()
    for index in held_out(labels):
        place = root / str(labels[index])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[index]).save(place / f"{index}.png")
    return root


def small_network(side: int | None = SIDE, channels: int = 3, *, rescaling: bool = False, top: bool = True) -> Any:
    """Three blocks of convolution, BatchNorm and ReLU, halved in between; a usual Keras model as a user writes it."""
    from tlkit.backbones.runtime import import_keras

    keras = import_keras()
    layers = keras.layers
    image = keras.Input((side, side, channels))
    x = layers.Rescaling(1 / 255)(image) if rescaling else image
    for block, width in enumerate((8, 16, 32)):
        x = layers.MaxPooling2D(name=f"pool{block}")(x) if block else x
        x = layers.Conv2D(width, 3, padding="same", name=f"conv{block}")(x)
        x = layers.BatchNormalization(name=f"norm{block}")(x)
        x = layers.ReLU(name=f"relu{block}")(x)
    if top:
        x = layers.Dense(10, name="digit")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, x)


def trained_network() -> Any:
    """The small network, trained for some seconds on pixels scaled to 0..1."""
    from tlkit.backbones.runtime import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(0)
    images, labels = digits()
    rest = np.setdiff1d(np.arange(len(labels)), held_out(labels))
    model = small_network()
    model.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images[rest] / 255.0, labels[rest], batch_size=32, epochs=12, verbose=0)
    return model
