"""Inputs of training: decoded images, or stored outputs of the frozen part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.runtime import import_tensorflow
from tlkit.finetune import augmentation as augmenting
from tlkit.finetune.maps import Maps
from tlkit.plan.recipe import Recipe
from tlkit.store.decoded import Decoded


class PixelInputs:
    """Decoded images; they are augmented in the training step."""

    def __init__(self, decoded: Decoded) -> None:
        self._decoded = decoded

    def batch(self, images: Sequence[int], draws: NDArray[np.float32] | None) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return the images, uint8 [n, h, w, 3]; draws are ignored."""
        return self._decoded.pixels(images)


class MapInputs:
    """Stored outputs of the frozen part, with several augmented versions of each image."""

    def __init__(self, train: Maps, plain: Maps, versions: int) -> None:
        self._train, self._plain, self._versions = train, plain, versions

    def batch(self, images: Sequence[int], draws: NDArray[np.float32] | None) -> NDArray[np.float16]:
        """Return float16 [n, h, w, c]: with draws a random version of training images, else validation images."""
        if draws is None:
            return self._plain.get(images, [0] * len(images))
        return self._train.get(images, [int(each * self._versions) for each in draws[:, 0]])


def make_augmenter(recipe: Recipe) -> Callable[[NDArray[np.uint8], Sequence[int]], NDArray[np.uint8]]:
    """Return a function that augments pixels, each image with its own seed."""
    tf = import_tensorflow()

    @tf.function(reduce_retracing=True, autograph=False)
    def run(pixels, draws):  # type: ignore[no-untyped-def]
        augmented = augmenting.augment(tf.cast(pixels, tf.float32), draws, recipe.augment, recipe.flip)
        return tf.cast(tf.round(augmented), tf.uint8)

    def augment(pixels: NDArray[np.uint8], seeds: Sequence[int]) -> NDArray[np.uint8]:
        draws = np.concatenate([augmenting.draw(1, seed, 0) for seed in seeds])
        return np.asarray(run(pixels, draws))

    return augment
