"""Where in a picture a class is seen: Grad-CAM.

Selvaraju et al. 2017, "Grad-CAM". The head of every tlkit network is linear on feature maps averaged over space. For
such networks the gradient that Grad-CAM weighs the maps with is the head's kernel, so that no gradient has to be
computed, and Grad-CAM is CAM (Zhou et al. 2016, "Learning Deep Features for Discriminative Localization"). A head on
several stages adds up their parts of the logit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.runtime import import_keras
from tlkit.training.assemble import LOGITS, POOL

Maps = NDArray[np.float32]


class ClassMaps:
    """Says where a network of `tlkit.training.assemble.attach_head` sees a class.

    Args:
        model: The ``keras.Model`` of a bundle.
    """

    def __init__(self, model: Any) -> None:
        keras = import_keras()
        pools = [layer for layer in model.layers if layer.name == POOL or layer.name.startswith(f"{POOL}_")]
        self._maps = keras.Model(model.input, [layer.input for layer in pools])
        kernel = np.asarray(model.get_layer(LOGITS).get_weights()[0])
        # softmax does not see what is added to all logits: only what sets a class apart from the others counts
        kernel = kernel - kernel.mean(axis=1, keepdims=True)
        widths = [int(layer.input.shape[-1]) for layer in pools]
        self._kernels = np.split(kernel, np.cumsum(widths)[:-1])

    def __call__(self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]) -> Maps:
        """Grad-CAM of one class for each picture.

        Args:
            pixels: uint8 [n, h, w, 3], RGB, of the network's size.
            classes: Class indices [n].

        Returns:
            float32 [n, rows, columns], 0..1: the evidence for the class at the finest stage's places, 1 where it is
            strongest; 0 where there is none, or evidence against it.
        """
        found = self._maps(pixels.astype(np.float32), training=False)
        parts = [np.asarray(each) for each in (found if isinstance(found, list) else [found])]
        size = (max(part.shape[1] for part in parts), max(part.shape[2] for part in parts))
        total = np.zeros((len(pixels), *size), dtype=np.float32)
        for part, kernel in zip(parts, self._kernels, strict=True):
            evidence = np.einsum("nhwc,cn->nhw", part, kernel[:, classes]) / (part.shape[1] * part.shape[2])
            cells = size[0] * size[1] / (part.shape[1] * part.shape[2])
            total += np.stack([resized(each, size) for each in evidence]) / cells
        total = np.maximum(total, 0)
        return np.asarray(total / np.maximum(total.max(axis=(1, 2), keepdims=True), 1e-12), dtype=np.float32)


def resized(values: NDArray[np.floating[Any]], size: tuple[int, int]) -> Maps:
    """float32 [rows, columns] at another size, interpolated; the corners of the picture stay its corners."""
    from PIL import Image

    picture = Image.fromarray(np.asarray(values, dtype=np.float32), mode="F")
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR), dtype=np.float32)
