"""Check the configuration of a user's ``.keras`` file without TensorFlow, and make a catalogue row from it.

The file is a zip archive with the network's configuration as JSON and its weights as HDF5. Most reasons why a file
cannot be used show in the configuration, so mistakes are reported immediately.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlkit.backbones.catalog.table import KERAS_SUFFIX as SUFFIX
from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.weights.archive import CONFIG as _CONFIG
from tlkit.backbones.weights.archive import SAVE, read_config
from tlkit.errors import TlkitError
from tlkit.files import check_path, file_hash
from tlkit.plan.choices import PREPROCESSING

DEFAULT_SIZE = 224  # pixels, for a network that takes any size: most are trained at this size
INCLUDED = "included"
_ALIASES = {"scale-minus1-1": "tf", "imagenet": "torch"}
_BY_CHANNEL = ("torch", "caffe")

_GRAPHS = ("Functional", "Model", "Sequential")
_SCALING = ("Rescaling", "Normalization")  # layers that scale; below, the operations that `x / 255 - 0.5` becomes
_ARITHMETIC = ("Divide", "TrueDivide", "Multiply", "Subtract", "Add")
_PASSED_OVER = ("InputLayer", "Resizing", "CenterCrop", "Identity", "ZeroPadding2D", "Cast", "Flip", "GetItem", "Stack")
_NO_MAPS = ("MultiHeadAttention", "GroupedQueryAttention", "Attention", "AdditiveAttention", "LSTM", "GRU", "SimpleRNN")

Config = dict[str, Any]


def file_backbone(path: str | Path, preprocessing: str | None = None, name: str | None = None) -> Backbone:
    """Return a row for a file, like those of the catalogue.

    Args:
        path: The file.
        preprocessing: A key of `PREPROCESSING` or an alias; None: the layers that the network begins with.
        name: Name of the backbone; None: the file's stem and the first digits of its hash.

    Returns:
        The row. Its ``family`` is empty, so stages are found by resolution. Accuracies and parameters are unknown.

    Raises:
        TlkitError: There is no such file, its network cannot be used as a backbone, or its preprocessing is unknown.
    """
    file = existing_model(path)
    config, digest = _read(file)
    try:
        shape = _input_shape(file, config)
        _refuse_outputs(file, config)
        _refuse_unmapped(file, config)
        side = _side(file, shape)
        kind = _preprocessing(file, config, preprocessing, shape[3])
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise TlkitError(f"'{file}' is not a Keras model: its {_CONFIG} is not in Keras's format", SAVE) from error
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", file.name.removesuffix(SUFFIX)).strip("-.") or "own"
    return Backbone(
        name=name or f"{stem}-{digest[:8]}",
        keras_name="",
        family="",
        input_size=side or DEFAULT_SIZE,
        min_size=side or 1,
        preprocessing=kind,
        params_top=0,
        params=0,
        operations_top=0,
        operations=0,
        top1=None,
        top5=None,
        source="",
        file=str(file.absolute()),
        digest=digest,
        fixed=side is not None,
    )


def existing_model(path: str | Path) -> Path:
    """Return the path of a ``.keras`` file.

    Raises:
        TlkitError: There is no such file, or it has another suffix; the hint names the most similar file in the folder.
    """
    file = Path(path).expanduser()
    check_path(file, "--backbone")
    if file.is_dir():
        raise TlkitError(f"the backbone '{file}' is a folder", SAVE)
    if not file.is_file():
        files = [sibling.name for sibling in file.parent.glob(f"*{SUFFIX}")] if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, files, n=1)
        hint = f"did you mean '{file.parent / near[0]}'?" if near else "tlkit backbones lists the catalogue"
        raise TlkitError(f"no such file: --backbone '{file}'", hint)
    if file.suffix.lower() != SUFFIX:
        raise TlkitError(f"the backbone '{file}' is not a {SUFFIX} file", SAVE)
    return file


def check_file_size(backbone: Backbone, size: int) -> None:
    """Check that a network of fixed input size takes a size.

    Raises:
        TlkitError: It takes another size.
    """
    if backbone.fixed and size != backbone.input_size:
        side = backbone.input_size
        raise TlkitError(
            f"{backbone.name} takes {side}x{side} pixels, not {size}x{size}",
            f"leave --image-size out, or save the network with keras.Input((None, None, 3)), not ({side}, {side}, 3)",
        )


def layers_of(config: Config) -> Iterator[Config]:
    """Yield all layers and operations of a configuration, with nested models flattened, in the order of the file."""
    for layer in config.get("config", {}).get("layers", ()):
        yield from layers_of(layer) if layer.get("class_name") in _GRAPHS else (layer,)


def _read(file: Path) -> tuple[Config, str]:
    """Return the configuration of the network, and the SHA-256 of the whole file in hex."""
    try:
        digest = file_hash(file)
    except OSError as error:
        raise TlkitError(f"cannot read '{file}': {error.strerror or error}") from error
    return read_config(file), digest


def _input_shape(file: Path, config: Config) -> list[Any]:
    """Return [batch, height, width, channels] of the only input; height and width may be None."""
    inner = config["config"]
    layers = [layer for layer in inner.get("layers") or () if isinstance(layer, dict)]
    if config["class_name"] == "Sequential":
        first = layers[0].get("config", {}) if layers else {}
        shape = first.get("batch_shape") or first.get("batch_input_shape") or inner.get("build_input_shape")
    else:
        inputs = _endpoints(inner.get("input_layers"))
        if len(inputs) != 1:
            raise TlkitError(f"'{file}' has {len(inputs)} inputs: {', '.join(inputs)}", "it must have one, an image")
        shape = next((layer["config"].get("batch_shape") for layer in layers if layer.get("name") == inputs[0]), None)
    if not shape:
        raise TlkitError(f"'{file}' does not define its input", "build it with keras.Input((height, width, 3))")
    shape = list(shape)
    if len(shape) != 4:
        hint = "its input must be [height, width, 3]"
        raise TlkitError(f"'{file}' does not take images: its input is {_shown(shape)}", hint)
    if shape[3] not in (1, 3):
        hint = "it must take 3 channels (RGB) or 1 (grey)"
        raise TlkitError(f"'{file}' takes {shape[3] or 'any number of'} channels: its input is {_shown(shape)}", hint)
    return shape


def _refuse_outputs(file: Path, config: Config) -> None:
    if config["class_name"] == "Sequential":
        return
    outputs = _endpoints(config["config"].get("output_layers"))
    if len(outputs) != 1:
        hint = "save keras.Model(model.input, ONE_OUTPUT)"
        raise TlkitError(f"'{file}' has {len(outputs)} outputs: {', '.join(outputs)}", hint)


def _refuse_unmapped(file: Path, config: Config) -> None:
    for layer in layers_of(config):
        if layer.get("class_name") in _NO_MAPS:
            raise TlkitError(
                f"'{file}' is not a convolutional network: it has the layer {layer['class_name']}",
                "a backbone must compute feature maps [height, width, channels] up to its pooling",
            )


def _endpoints(layers: Any) -> list[str]:
    """Return the names of a model's input or output layers, given as ["x", 0, 0], a list of these or a dictionary."""
    if isinstance(layers, dict):
        layers = list(layers.values())
    if not isinstance(layers, list):
        return []
    if len(layers) == 3 and isinstance(layers[0], str):
        return [layers[0]]
    return [name for layer in layers for name in _endpoints(layer)]


def _side(file: Path, shape: list[Any]) -> int | None:
    """Return the side of the square input in pixels; None: any size."""
    sides = {int(side) for side in shape[1:3] if side is not None}
    if len(sides) > 1:
        hint = "images are stretched to squares: save the network with keras.Input((None, None, 3))"
        raise TlkitError(f"the input of '{file}' is not square: {shape[1]}x{shape[2]}", hint)
    return sides.pop() if sides else None


def _preprocessing(file: Path, config: Config, asked: str | None, channels: int) -> str:
    if asked is None:
        if begins_with_scaling(config):
            return INCLUDED
        raise TlkitError(
            f"the preprocessing of '{file}' is unknown: it does not begin with Rescaling or Normalization",
            f"use --preprocessing with the preprocessing of its training: {', '.join(PREPROCESSING)}",
        )
    kind = checked_preprocessing(asked)
    if channels == 1 and kind in _BY_CHANNEL:
        hint = "use --preprocessing included, scale-0-1, tf or lite"
        raise TlkitError(f"--preprocessing {asked} requires three channels, but '{file}' takes one", hint)
    return kind


def checked_preprocessing(asked: str) -> str:
    """Return the key of `PREPROCESSING` for a name or alias.

    Raises:
        TlkitError: There is no such preprocessing.
    """
    kind = _ALIASES.get(asked.lower(), asked.lower())
    if kind not in PREPROCESSING:
        known = ", ".join(f"{name} ({what})" for name, what in PREPROCESSING.items())
        raise TlkitError(f"unknown --preprocessing '{asked}'", f"one of {known}")
    return kind


def begins_with_scaling(config: Config) -> bool:
    """Return whether the network begins by scaling its pixels."""
    for layer in layers_of(config):
        kind = str(layer.get("class_name"))
        if kind in _SCALING:
            return True
        if kind in _ARITHMETIC and "ops" in str(layer.get("module")):
            return _by_a_constant(layer)
        if kind not in _PASSED_OVER and not kind.startswith("Rand"):
            return False
    return False


def _by_a_constant(layer: Config) -> bool:
    """Return whether an operation combines one tensor of the graph with a constant, not two tensors."""
    nodes = layer.get("inbound_nodes") or [{}]
    arguments = [*nodes[0].get("args", ()), *nodes[0].get("kwargs", {}).values()]
    tensors = [item for item in arguments if isinstance(item, dict) and item.get("class_name") == "__keras_tensor__"]
    return len(tensors) == 1


def _shown(shape: list[Any]) -> str:
    return f"[{', '.join('any' if side is None else str(side) for side in shape[1:])}]"
