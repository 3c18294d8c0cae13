"""Build a flat Keras model, which takes RGB pixels 0..255, from a catalogue row."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlkit.backbones import catalog
from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.network import Network
from tlkit.backbones.own.keras_file import check_file_size, file_backbone
from tlkit.backbones.preprocessing import IMAGENET_STD, preprocess
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.stages import find_stages
from tlkit.backbones.weights.loading import existing_file, load_weights
from tlkit.backbones.weights.partial_load import EVERYTHING
from tlkit.errors import TlkitError
from tlkit.plan.choices import IMAGENET, RANDOM
from tlkit.schema import MAX_SIDE


def build_backbone(
    name: str | Backbone, *, weights: str | Path = "imagenet", input_size: int | None = None, seed: int = 0
) -> Network:
    """Build a backbone including its preprocessing, and load its weights.

    Args:
        name: Any spelling of a catalogue name, a ``.keras`` file, or a row.
        weights: ``imagenet`` (packaged, cached or downloaded; for a file: its own weights), ``none`` (random), or a
            file that ``load_weights`` can read.
        input_size: Side of the square input, in pixels; None: the backbone's own.
        seed: Seed of random weights. The same seed gives the same weights, whatever ran before.

    Returns:
        The network, with all layers trainable.

    Raises:
        TlkitError: The name is unknown, the size is too small, the weights are not available or do not fit, or the
            file cannot be used as a backbone.
    """
    backbone, size = check_request(name, weights, input_size)
    if backbone.file:
        return _network_of_file(backbone, size)
    with _seeded(seed):
        model = _build_model(backbone, size)
    _number_names(model)
    loads = [EVERYTHING]
    weights_hash = f"none-{seed}" if str(weights) == RANDOM else load_weights(model, backbone, weights, loads.append)
    return Network(backbone, model, find_stages(model, backbone.family), weights_hash, loads[-1])


def _network_of_file(backbone: Backbone, size: int) -> Network:
    from tlkit.backbones.own.rebuild import model_from_file

    model = model_from_file(backbone, size)
    stages = find_stages(model)
    if len(stages) < 2:
        hint = "a stage ends at a layer that all paths pass, after a layer with weights"
        raise TlkitError(f"'{backbone.file}' cannot be divided into stages", hint)
    return Network(backbone, model, stages, backbone.digest)


def check_request(
    name: str | Backbone, weights: str | Path, input_size: int | None, preprocessing: str | None = None
) -> tuple[Backbone, int]:
    """Check everything that can be checked before TensorFlow is imported.

    Args:
        name: Any spelling of a catalogue name, a ``.keras`` file, or a row.
        weights: As for `build_backbone`.
        input_size: Side of the square input, in pixels; None: the backbone's own.
        preprocessing: For a ``.keras`` file, as for `tlkit.backbones.own.keras_file.file_backbone`.

    Returns:
        The catalogue row and the side of the square input in pixels.

    Raises:
        TlkitError: The name is unknown, the size is too small or above `MAX_SIDE`, there is no such weights file, the
            file cannot be used as a backbone, or an option does not apply to the backbone.
    """
    backbone = _row(name, preprocessing)
    size = backbone.input_size if input_size is None else input_size
    if size < backbone.min_size and not backbone.file:
        raise TlkitError(
            f"an input of {size}x{size} pixels is too small for {backbone.name}",
            f"the minimum is {backbone.min_size}x{backbone.min_size}, the default {backbone.input_size}",
        )
    if size > MAX_SIDE:
        raise TlkitError(f"an input of {size}x{size} pixels is too large", f"the maximum is {MAX_SIDE}x{MAX_SIDE}")
    if backbone.file:
        check_file_size(backbone, size)
        if str(weights) != IMAGENET:
            raise TlkitError(f"--weights does not apply to {backbone.name}: the file has its own", "leave it out")
    elif str(weights) not in (IMAGENET, RANDOM):
        existing_file(weights)
    return backbone, size


def _row(name: str | Backbone, preprocessing: str | None) -> Backbone:
    if isinstance(name, Backbone):
        return name
    if catalog.is_file_name(name):
        return file_backbone(name, preprocessing)
    return catalog.get(name)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Make Keras initialisers repeatable: each draws its seed from Python's generator when it is created."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _build_model(backbone: Backbone, size: int) -> Any:
    """Build the flat model with random weights."""
    keras = import_keras()
    image = keras.Input((size, size, 3), dtype="float32", name="image")
    if backbone.packaged:
        from tlkit.backbones.efficientnet_lite import efficientnet_lite

        return keras.Model(image, efficientnet_lite(image, backbone.variant), name=backbone.name)
    application = getattr(keras.applications, backbone.keras_name)(
        weights=None,
        include_top=False,
        pooling=None,
        input_shape=(size, size, 3),
        input_tensor=preprocess(image, backbone.preprocessing),
    )
    # Some applications wrap their input in a list, which would become the signature of every saved model.
    model = keras.Model(image, application.output, name=backbone.name)
    if backbone.family in ("convnext", "efficientnet"):
        return _rewire(model, scale_by_std=backbone.family == "efficientnet")
    return model


def _rewire(model: Any, *, scale_by_std: bool) -> Any:
    """Copy a functional model with nested Sequential models flattened.

    Args:
        model: Functional model; its weights are not copied.
        scale_by_std: Add a division by the square root of ImageNet's standard deviation after the normalisation. Keras
            does this for EfficientNet only with ImageNet weights, which normalise by the other square root; here the
            network must not depend on the origin of its weights.
    """
    keras = import_keras()

    def copy(layer: Any) -> Any:
        # A Sequential is flattened in call.
        return layer if isinstance(layer, keras.Sequential) else type(layer).from_config(layer.get_config())

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.Sequential):
            (tensor,) = args
            for inner in layer.layers:
                tensor = copy(inner)(tensor)
            return tensor
        tensor = layer(*args, **kwargs)
        if scale_by_std and isinstance(layer, keras.layers.Normalization):
            tensor = keras.layers.Rescaling([1 / std**0.5 for std in IMAGENET_STD])(tensor)
        return tensor

    return keras.models.clone_model(model, clone_function=copy, call_function=call)


def _number_names(model: Any) -> None:
    """Renumber automatic layer names from 0 within this model.

    Keras counts over the whole process (``conv2d_117``), so the name of a layer, and of the layer that ends a stage,
    would depend on what was built before.
    """
    seen: Counter[str] = Counter()
    for operation in model.operations:
        base = re.sub(r"_\d+$", "", operation.name)
        if base.replace("_", "") == type(operation).__name__.lower():
            operation.name = f"{base}_{seen[base]}" if seen[base] else base
            seen[base] += 1
