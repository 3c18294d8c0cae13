"""Grad-CAM: show where in an image the network finds evidence for a class.

Selvaraju et al. 2017, "Grad-CAM". The head of every tlkit network is linear on feature maps averaged over space. For
such networks the gradients that weight the maps are the head's kernel. No gradient has to be computed, and Grad-CAM is
the same as CAM (Zhou et al. 2016, "Learning Deep Features for Discriminative Localization"). For a head on several
stages, their contributions to the logit are added.
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
    """Computes class activation maps.

    Args:
        compute: Function from uint8 [n, h, w, 3] to the maps the head averages, float32 [n, rows, columns, channels].
        kernel: Kernel of the head, float32 [channels of all maps, classes].
    """

    def __init__(self, compute: Compute, kernel: NDArray[np.float32]) -> None:
        self._compute = compute
        # softmax ignores what is added to all logits, so subtract the mean over classes
        self._kernel = kernel - kernel.mean(axis=1, keepdims=True)

    @classmethod
    def from_keras(cls, model: Any) -> ClassMaps:
        """Create from a ``keras.Model`` made by `tlkit.linear.classifier.attach_head`."""
        keras = import_keras()
        pools = [layer for layer in model.layers if layer.name == POOL or layer.name.startswith(f"{POOL}_")]
        maps = keras.Model(model.input, [layer.input for layer in pools])

        def compute(pixels: NDArray[np.uint8]) -> list[Maps]:
            found = maps(pixels.astype(np.float32), training=False)
            return [np.asarray(each) for each in (found if isinstance(found, list) else [found])]

        return cls(compute, np.asarray(model.get_layer(LOGITS).get_weights()[0]))

    @classmethod
    def from_lite(cls, file: bytes) -> ClassMaps | None:
        """Create from a bundle's ``model.tflite``, without TensorFlow; None if that is not possible."""
        found = head_maps(file) if has_litert() else None
        return None if found is None else cls(lite_maps(found[0]), found[1])

    @classmethod
    def from_files(cls, lite: Path | None, model: Callable[[], Any]) -> ClassMaps:
        """Create from a bundle: with LiteRT if possible, else with Keras, which only ``model`` loads."""
        found = None if lite is None else cls.from_lite(lite.read_bytes())
        return found or cls.from_keras(model())

    def __call__(self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]) -> Maps:
        """Compute Grad-CAM of one class for each image.

        Args:
            pixels: uint8 [n, h, w, 3], RGB, at the network's input size.
            classes: Class indices [n].

        Returns:
            Evidence for the class, float32 [n, rows, columns], 0..1, at the resolution of the finest stage: 1 where it
            is strongest, 0 where there is none or evidence against the class.
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
    """Resize values to another size, float32 [rows, columns], with bilinear interpolation."""
    from PIL import Image

    image = Image.fromarray(np.asarray(values, dtype=np.float32), mode="F")
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), dtype=np.float32)
