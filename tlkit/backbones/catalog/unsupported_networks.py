"""Well-known networks without weights in Keras Applications, and what to use instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UnsupportedNetwork:
    """A network that is not in the catalogue.

    Attributes:
        name: Its usual name.
        params: Parameters including the classifier, as published.
        operations: Multiply-adds including the classifier for one image of 224x224 (Inception-v4: 299x299) pixels; None
            if not published.
        top1: Published ImageNet top-1 accuracy in percent, single crop.
        source: Where the figures were published.
        nearest: Name in the catalogue of the network to use instead.
        why: Similarities and differences of the two.
    """

    name: str
    params: float
    operations: float | None
    top1: float
    source: str
    nearest: str
    why: str


UNSUPPORTED_NETWORKS = (
    UnsupportedNetwork(
        "AlexNet", 61.1e6, 0.71e9, 56.5, "torchvision", "vgg16",
        "similar design: plain convolutions; efficientnet-lite1 needs as few operations and far fewer parameters",
    ),
    UnsupportedNetwork(
        "NIN", 7.6e6, None, 59.4, "Caffe Model Zoo", "mobilenet",
        "also uses 1x1 convolutions, and average pooling instead of dense layers",
    ),
    UnsupportedNetwork(
        "GoogLeNet", 6.6e6, 1.50e9, 69.8, "torchvision", "inception-v3",
        "same family, two versions later; mobilenet-v2 is as small",
    ),
    UnsupportedNetwork(
        "ResNet-18", 11.7e6, 1.81e9, 69.8, "torchvision", "resnet50",
        "same design with more blocks; efficientnet-b2 is as cheap and more accurate",
    ),
    UnsupportedNetwork(
        "ResNet-34", 21.8e6, 3.66e9, 73.3, "torchvision", "resnet50",
        "same stages at the same cost, with bottlenecks",
    ),
    UnsupportedNetwork(
        "Inception-v4", 48e6, 13e9, 80.0, "Tan & Le 2019", "inception-resnet-v2",
        "from the same paper, same accuracy at the same cost",
    ),
)  # fmt: skip
HOW_TO_USE = "to use one of them, save it as a Keras file: tlkit train IMAGES --backbone FILE.keras"
