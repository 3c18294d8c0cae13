"""The preprocessing of RGB pixels 0..255 before a backbone's first layer."""

from __future__ import annotations

from typing import Any

from tlkit.backbones.runtime import import_keras

# Mean and standard deviation of ImageNet's pixels, RGB, on the scale 0..1 (Huang et al. 2017, DenseNet).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Mean of ImageNet's pixels, BGR, 0..255, which Caffe networks subtract (Simonyan & Zisserman 2014).
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def preprocess(image: Any, kind: str) -> Any:
    """Apply a backbone's preprocessing as layers and operations without weights.

    Without weights, they do not change the order of layers in a weights file.

    Args:
        image: Keras tensor, float32 [batch, height, width, 3], RGB, 0..255.
        kind: ``preprocessing`` of a catalogue row.

    Returns:
        Keras tensor of the same shape, with the value range and channel order that the network was trained with.
    """
    keras = import_keras()
    if kind == "included":
        return image
    if kind == "caffe":
        offset = [-mean for mean in _CAFFE_MEAN_BGR]
        return keras.layers.Rescaling(1.0, offset=offset, name="preprocess")(keras.ops.flip(image, axis=-1))
    if kind == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocess")(image)
    if kind == "scale-0-1":
        return keras.layers.Rescaling(1 / 255, name="preprocess")(image)
    if kind == "lite":
        return keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="preprocess")(image)
    if kind == "torch":
        scale = [1 / (255 * std) for std in IMAGENET_STD]
        offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
        return keras.layers.Rescaling(scale, offset=offset, name="preprocess")(image)
    raise ValueError(f"unknown preprocessing: {kind!r}")
