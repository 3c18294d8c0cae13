"""A ``.keras`` file of the user's as a backbone: what it says of itself, read without TensorFlow.

The file is a zip archive with the network's configuration as JSON and its weights as HDF5. The configuration alone
tells most of what makes a file unusable, so that a mistake is told at once.
"""

from __future__ import annotations

import difflib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlkit.backbones.catalog.table import KERAS_SUFFIX as SUFFIX
from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.weights.loading import file_hash
from tlkit.errors import TlkitError
from tlkit.plan.choices import PREPROCESSING

DEFAULT_SIZE = 224  # of a network that takes any size: what most are trained at
INCLUDED = "included"
_ALIASES = {"scale-minus1-1": "tf", "imagenet": "torch"}
_BY_CHANNEL = ("torch", "caffe")

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_GRAPHS = ("Functional", "Model", "Sequential")
_SCALING = ("Rescaling", "Normalization")  # layers, and what `x / 255 - 0.5` becomes:
_ARITHMETIC = ("Divide", "TrueDivide", "Multiply", "Subtract", "Add")
_PASSED_OVER = ("InputLayer", "Resizing", "CenterCrop", "Identity", "ZeroPadding2D", "Cast", "Flip", "GetItem", "Stack")
_NO_MAPS = ("MultiHeadAttention", "GroupedQueryAttention", "Attention", "AdditiveAttention", "LSTM", "GRU", "SimpleRNN")
SAVE = f"a functional model saved with model.save('NAME{SUFFIX}') is needed"

Config = dict[str, Any]


def file_backbone(path: str | Path, preprocessing: str | None = None, name: str | None = None) -> Backbone:
    """A row for a file, like those of the catalogue.

    Args:
        path: The file.
        preprocessing: A key of `PREPROCESSING` or another name for one; None: what the file begins with.
        name: How the backbone is called; None: the file's stem and the first digits of its hash.

    Returns:
        Its ``family`` is empty, so that stages are found by resolution; accuracies and parameters are not known.

    Raises:
        TlkitError: There is no such file, it holds no network that can be a backbone, or nothing says what
            preprocessing it wants.
    """
    file = existing_model(path)
    config, digest = _read(file)
    try:
        _refuse_foreign(file, config)
        shape = _input_shape(file, config)
        _refuse_outputs(file, config)
        _refuse_unmapped(file, config)
        side = _side(file, shape)
        kind = _preprocessing(file, config, preprocessing, shape[3])
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise TlkitError(f"'{file}' is no model of Keras: {_CONFIG} is not as Keras writes it", SAVE) from error
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
    """The ``.keras`` file of that name.

    Raises:
        TlkitError: There is none, or it is called otherwise; the hint names the nearest in the same folder.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise TlkitError(f"the backbone '{file}' is a folder", SAVE)
    if not file.is_file():
        there = [each.name for each in file.parent.glob(f"*{SUFFIX}")] if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, there, n=1)
        hint = f"did you mean '{file.parent / near[0]}'?" if near else "tlkit backbones lists those with a name"
        raise TlkitError(f"no such file: --backbone '{file}'", hint)
    if file.suffix.lower() != SUFFIX:
        raise TlkitError(f"the backbone '{file}' is no {SUFFIX} file", SAVE)
    return file


def check_file_size(backbone: Backbone, size: int) -> None:
    """Refuse a size that a network of one size does not take.

    Raises:
        TlkitError: It takes another.
    """
    if backbone.fixed and size != backbone.input_size:
        side = backbone.input_size
        raise TlkitError(
            f"{backbone.name} takes {side}x{side} pixels, not {size}x{size}",
            f"leave --image-size out, or save it with an Input of (None, None, 3) instead of ({side}, {side}, 3)",
        )


def layers_of(config: Config) -> Iterator[Config]:
    """All layers and operations of a configuration, nested models taken apart, in the order of the file."""
    for layer in config.get("config", {}).get("layers", ()):
        yield from layers_of(layer) if layer.get("class_name") in _GRAPHS else (layer,)


def _read(file: Path) -> tuple[Config, str]:
    """The configuration of the network, and the SHA-256 of the whole file in hex."""
    try:
        digest = file_hash(file)
        with zipfile.ZipFile(file) as archive:
            if missing := {_CONFIG, _WEIGHTS} - set(archive.namelist()):
                raise TlkitError(f"'{file}' is no model of Keras: it has no {min(missing)}", SAVE)
            config = json.loads(archive.read(_CONFIG))
            if (damaged := archive.testzip()) is not None:
                raise TlkitError(f"'{file}' is damaged: {damaged} in it is not whole", "save or fetch it again")
    except OSError as error:
        raise TlkitError(f"cannot read '{file}': {error.strerror or error}") from error
    except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, zlib.error) as error:
        reason = " ".join(str(error).split())[:120]
        raise TlkitError(f"'{file}' is damaged or no {SUFFIX} file: {reason}", SAVE) from error
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise TlkitError(f"'{file}' is no model of Keras: {_CONFIG} describes none", SAVE)
    return config, digest


def _refuse_foreign(file: Path, config: Config) -> None:
    """Refuse what is not made of Keras's own layers: loading it would run code from elsewhere."""
    kind, module = str(config.get("class_name")), str(config.get("module") or "")
    if kind not in _GRAPHS or module.partition(".")[0] != "keras":
        raise TlkitError(f"'{file}' holds a subclassed model ({kind}), whose code is not in it", SAVE)
    for each in _objects(config):
        kind, module = str(each["class_name"]), str(each.get("module") or "")
        registered = str(each.get("registered_name") or "")
        if kind in ("Lambda", "__lambda__"):
            hint = "replace it by a layer of Keras, such as Rescaling, and save the network again"
            raise TlkitError(f"'{file}' has a Lambda layer, which is code: nothing in a file is executed", hint)
        if ">" in registered or module.partition(".")[0] not in ("", "keras", "builtins"):
            called = registered.rpartition(">")[2] or f"{module}.{kind}"
            raise TlkitError(f"'{file}' needs the custom object {called}", "only Keras's own layers can be used")
        if isinstance(each.get("config"), dict) and each["config"].get("data_format") == "channels_first":
            name = each["config"].get("name", kind)
            raise TlkitError(
                f"'{file}' runs channels first (layer {name})", "build it with data_format='channels_last'"
            )


def _objects(value: Any) -> Iterator[Config]:
    """Every serialised object in a configuration, at any depth."""
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            if "class_name" in each and each["class_name"] != "__keras_tensor__":
                yield each
            todo.extend(each.values())
        elif isinstance(each, list):
            todo.extend(each)


def _input_shape(file: Path, config: Config) -> list[Any]:
    """[batch, height, width, channels] of the only input; sides may be None."""
    inner = config["config"]
    layers = [layer for layer in inner.get("layers") or () if isinstance(layer, dict)]
    if config["class_name"] == "Sequential":
        first = layers[0].get("config", {}) if layers else {}
        shape = first.get("batch_shape") or first.get("batch_input_shape") or inner.get("build_input_shape")
    else:
        inputs = _endpoints(inner.get("input_layers"))
        if len(inputs) != 1:
            raise TlkitError(f"'{file}' has {len(inputs)} inputs: {', '.join(inputs)}", "it must have one, an image")
        shape = next((each["config"].get("batch_shape") for each in layers if each.get("name") == inputs[0]), None)
    if not shape:
        raise TlkitError(f"'{file}' does not say what input it takes", "build it with keras.Input((height, width, 3))")
    shape = list(shape)
    if len(shape) != 4:
        hint = "its input must be [height, width, 3]"
        raise TlkitError(f"'{file}' takes no images: its input is {_shown(shape)}", hint)
    if shape[3] not in (1, 3):
        hint = "images come with 3 channels, RGB, or as grey with 1"
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
    for each in layers_of(config):
        if each.get("class_name") in _NO_MAPS:
            raise TlkitError(
                f"'{file}' is no convolutional network: it has the layer {each['class_name']}",
                "a backbone's features must be maps, [height, width, channels], up to its pooling",
            )


def _endpoints(layers: Any) -> list[str]:
    """Names of a model's input or output layers: ["x", 0, 0], a list of such, or a dictionary."""
    if isinstance(layers, dict):
        layers = list(layers.values())
    if not isinstance(layers, list):
        return []
    if len(layers) == 3 and isinstance(layers[0], str):
        return [layers[0]]
    return [name for each in layers for name in _endpoints(each)]


def _side(file: Path, shape: list[Any]) -> int | None:
    """The side of the input in pixels; None: any."""
    sides = {int(each) for each in shape[1:3] if each is not None}
    if len(sides) > 1:
        hint = "images are stretched to squares: save it with an Input of (None, None, 3)"
        raise TlkitError(f"'{file}' takes images that are not square: {shape[1]}x{shape[2]}", hint)
    return sides.pop() if sides else None


def _preprocessing(file: Path, config: Config, asked: str | None, channels: int) -> str:
    if asked is None:
        if begins_with_scaling(config):
            return INCLUDED
        raise TlkitError(
            f"'{file}' does not say what pixels it was trained on: it begins with no Rescaling or Normalization",
            f"--preprocessing {', '.join(PREPROCESSING)}: what was done to RGB 0..255 before",
        )
    kind = checked_preprocessing(asked)
    if channels == 1 and kind in _BY_CHANNEL:
        hint = "--preprocessing included, scale-0-1, tf or lite"
        raise TlkitError(f"--preprocessing {asked} is for three channels, '{file}' takes one", hint)
    return kind


def checked_preprocessing(asked: str) -> str:
    """The key of `PREPROCESSING` that is meant.

    Raises:
        TlkitError: There is none.
    """
    kind = _ALIASES.get(asked.lower(), asked.lower())
    if kind not in PREPROCESSING:
        known = ", ".join(f"{name} ({what})" for name, what in PREPROCESSING.items())
        raise TlkitError(f"unknown --preprocessing '{asked}'", f"one of {known}")
    return kind


def begins_with_scaling(config: Config) -> bool:
    """Whether the first thing that the network does to its pixels is to scale them."""
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
    """Whether an operation has one tensor of the graph, and so a constant, not two tensors."""
    nodes = layer.get("inbound_nodes") or [{}]
    given = [*nodes[0].get("args", ()), *nodes[0].get("kwargs", {}).values()]
    tensors = [each for each in given if isinstance(each, dict) and each.get("class_name") == "__keras_tensor__"]
    return len(tensors) == 1


def _shown(shape: list[Any]) -> str:
    return f"[{', '.join('any' if each is None else str(each) for each in shape[1:])}]"
