"""Well-known networks that Keras Applications has no weights of, and what to take instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relative:
    """A network that is not in the catalogue.

    Attributes:
        name: What people call it.
        params: Parameters with the classifier, as published.
        operations: Multiply-adds with the classifier for one image of 224 (Inception-v4: 299) pixels; None if
            nobody published them.
        top1: Published ImageNet top-1 accuracy in percent, of one crop.
        source: Where the figures were published.
        nearest: Name in the catalogue of the network that takes its place.
        why: In what they are alike, and what differs.
    """

    name: str
    params: float
    operations: float | None
    top1: float
    source: str
    nearest: str
    why: str


RELATIVES = (
    Relative(
        "AlexNet", 61.1e6, 0.71e9, 56.5, "torchvision", "vgg16",
        "the next of its kind: plain convolutions; for as few operations and far fewer parameters efficientnet-lite1",
    ),
    Relative(
        "NIN", 7.6e6, None, 59.4, "Caffe Model Zoo", "mobilenet",
        "also 1x1 convolutions, and averaging in place of dense layers",
    ),
    Relative(
        "GoogLeNet", 6.6e6, 1.50e9, 69.8, "torchvision", "inception-v3",
        "the same family, two versions on; as small is mobilenet-v2",
    ),
    Relative(
        "ResNet-18", 11.7e6, 1.81e9, 69.8, "torchvision", "resnet50",
        "the same design with fewer blocks; as cheap and more accurate is efficientnet-b2",
    ),
    Relative(
        "ResNet-34", 21.8e6, 3.66e9, 73.3, "torchvision", "resnet50",
        "the same stages at the same cost, with bottlenecks",
    ),
    Relative(
        "Inception-v4", 48e6, 13e9, 80.0, "Tan & Le 2019", "inception-resnet-v2",
        "from the same paper, the same accuracy at the same cost",
    ),
)  # fmt: skip
HOW = "tlkit train IMAGES --backbone FILE.keras takes any of them as a Keras file"
