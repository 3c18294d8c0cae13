"""Where in an image a class is seen: Grad-CAM.

Selvaraju et al. 2017, "Grad-CAM". The head of every tlkit network is linear on feature maps averaged over space. For
such networks the gradient that Grad-CAM weighs the maps with is the head's kernel, so that no gradient has to be
computed, and Grad-CAM is CAM (Zhou et al. 2016, "Learning Deep Features for Discriminative Localization"). A head on
several stages adds up their parts of the logit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import has_litert, lite_maps
from tlkit.backbones.litert.heads import head_maps
from tlkit.backbones.runtime import import_keras
from tlkit.linear.classifier import LOGITS, POOL

Maps = NDArray[np.float32]
Compute = Callable[[NDArray[np.uint8]], Sequence[Maps]]


class ClassMaps:
    """Says where a network sees a class.

    Args:
        compute: From uint8 [n, h, w, 3] to the maps that the head averages, each float32 [n, rows, columns, channels].
        kernel: Of the head, float32 [channels of all maps, classes].
    """

    def __init__(self, compute: Compute, kernel: NDArray[np.float32]) -> None:
        self._compute = compute
        # softmax does not see what is added to all logits: only what sets a class apart from the others counts
        self._kernel = kernel - kernel.mean(axis=1, keepdims=True)

    @classmethod
    def of_keras(cls, model: Any) -> ClassMaps:
        """Of a ``keras.Model`` from `tlkit.linear.classifier.attach_head`."""
        keras = import_keras()
        pools = [layer for layer in model.layers if layer.name == POOL or layer.name.startswith(f"{POOL}_")]
        maps = keras.Model(model.input, [layer.input for layer in pools])

        def compute(pixels: NDArray[np.uint8]) -> list[Maps]:
            found = maps(pixels.astype(np.float32), training=False)
            return [np.asarray(each) for each in (found if isinstance(found, list) else [found])]

        return cls(compute, np.asarray(model.get_layer(LOGITS).get_weights()[0]))

    @classmethod
    def of_lite(cls, file: bytes) -> ClassMaps | None:
        """Of a bundle's ``model.tflite``, without TensorFlow; None where that cannot be."""
        found = head_maps(file) if has_litert() else None
        return None if found is None else cls(lite_maps(found[0]), found[1])

    @classmethod
    def of_files(cls, lite: Path | None, model: Callable[[], Any]) -> ClassMaps:
        """Of a bundle: by LiteRT where that can be, else by Keras, which is loaded by ``model`` only then."""
        found = None if lite is None else cls.of_lite(lite.read_bytes())
        return found or cls.of_keras(model())

    def __call__(self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]) -> Maps:
        """Grad-CAM of one class for each image.

        Args:
            pixels: uint8 [n, h, w, 3], RGB, of the network's size.
            classes: Class indices [n].

        Returns:
            float32 [n, rows, columns], 0..1: the evidence for the class at the finest stage's places, 1 where it is
            strongest; 0 where there is none, or evidence against it.
        """
        parts = self._compute(pixels)
        kernels = np.split(self._kernel, np.cumsum([part.shape[-1] for part in parts])[:-1])
        size = (max(part.shape[1] for part in parts), max(part.shape[2] for part in parts))
        total = np.zeros((len(pixels), *size), dtype=np.float32)
        for part, kernel in zip(parts, kernels, strict=True):
            evidence = np.einsum("nhwc,cn->nhw", part, kernel[:, classes]) / (part.shape[1] * part.shape[2])
            cells = size[0] * size[1] / (part.shape[1] * part.shape[2])
            total += np.stack([resized(each, size) for each in evidence]) / cells
        total = np.maximum(total, 0)
        return np.asarray(total / np.maximum(total.max(axis=(1, 2), keepdims=True), 1e-12), dtype=np.float32)


def resized(values: NDArray[np.floating[Any]], size: tuple[int, int]) -> Maps:
    """float32 [rows, columns] at another size, interpolated; the corners of the image stay its corners."""
    from PIL import Image

    image = Image.fromarray(np.asarray(values, dtype=np.float32), mode="F")
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), dtype=np.float32)
