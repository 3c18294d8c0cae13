"""Backbone and head as one Keras network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tlkit.backbones.runtime import import_keras
from tlkit.linear.classifier import with_features


def test_features_are_joined_whatever_the_layers_of_a_file_are_called(tmp_path: Path) -> None:
    """As in a process that has built nothing before: Keras would give its own layers the names of InceptionV3's."""
    keras = import_keras()
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="mean")(image)
    x = layers.Concatenate(name="concatenate")([x, layers.Conv2D(2, 3, name="global_average_pooling2d")(image)])
    x = layers.Softmax()(layers.Dense(2)(layers.GlobalAveragePooling2D(name="mean_1")(x)))
    keras.Model(image, x).save(tmp_path / "net.keras")
    keras.utils.clear_session()
    model = keras.models.load_model(tmp_path / "net.keras")
    both = with_features(model, ["mean", "concatenate"])
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    found = np.asarray(both(pixels))
    assert found.shape == (3, 2 + 4 + 6)
    np.testing.assert_allclose(found[:, :2], np.asarray(model(pixels)), rtol=1e-5)
    np.testing.assert_allclose(found[:, 2:6], found[:, 6:10], rtol=1e-5)
