"""Match the arrays of a weights file to the variables of a network, in the layouts of Keras 1 to 3."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import Any

import h5py
import numpy as np

from tlkit.backbones.weights.partial_load import (
    EVERYTHING,
    MisfitError,
    PartialLoad,
    StoredLayers,
    match_by_name,
    snake_case,
    stored_by_name,
)
from tlkit.words import plural

# Layers that Keras nests in Sequential models, but build_backbone does not: ConvNeXt's stem and downsampling.
_SEQUENTIAL_PART = re.compile(r"_(stem|downsampling)_(?:conv|layernorm)(_\d+)?$")

Pairs = list[tuple[Any, h5py.Dataset]]
"""Pairs of a variable of the model and the stored array to fill it with."""


def match_weights(model: Any, file: h5py.File, partial: bool) -> tuple[Pairs, PartialLoad]:
    """Match the whole network if the file has it, else the layers that the file has by name.

    Args:
        model: The model to fill.
        file: The weights file.
        partial: The last layers may be missing.

    Raises:
        MisfitError: The file belongs to another network.
    """
    try:
        return _match(model, file, partial), EVERYTHING
    except MisfitError:
        group = _legacy_group(file)
        stored = stored_by_name(file) if group is None else _stored_in_order(group)
        if not stored.arrays:
            raise
        return match_by_name(_weighted_layers(model), stored)


def _stored_in_order(group: h5py.Group) -> StoredLayers:
    """Return the layers of a file of Keras 1 or 2."""
    names = {layer: _attribute(group[layer], "weight_names") for layer in _attribute(group, "layer_names")}
    arrays = {layer: [group[layer][weight] for weight in weights] for layer, weights in names.items() if weights}
    return StoredLayers(arrays, [list(arrays)])


def _match(model: Any, file: h5py.File, partial: bool = False) -> Pairs:
    """Match an array to every variable of the model, or of its first layers, in any layout.

    Raises:
        MisfitError: No layout in the file fits the network.
    """
    if (group := _legacy_group(file)) is not None:
        return _match_in_order(model, group)
    containers: list[h5py.Group] = []
    file.visititems(lambda name, item: containers.append(item) if _is_layers(name, item) else None)
    if not containers:
        raise ValueError("it does not have a Keras layout")
    misfits = []
    # The backbone may be nested in the model that was saved; the outermost container that fits is used.
    for container in sorted(containers, key=lambda group: len(group.name)):
        for nested in (False, True):
            try:
                return _match_by_key(model, container, nested=nested, partial=partial)
            except MisfitError as misfit:
                misfits.append(misfit)
    raise misfits[0]


def _is_layers(name: str, item: Any) -> bool:
    return isinstance(item, h5py.Group) and name.rpartition("/")[2] == "layers"


def _legacy_group(file: h5py.File) -> h5py.Group | None:
    """Return the weights group of a file in the layout of Keras 1 and 2: the root, or part of a whole saved model."""
    group = file.get("model_weights", file)
    return group if _has_attribute(group, "layer_names") else None


def _match_in_order(model: Any, group: h5py.Group) -> Pairs:
    """Match the layout of Keras 1 and 2, where only the order identifies layers."""
    stored = [
        group[layer][weight]
        for layer in _attribute(group, "layer_names")
        for weight in _attribute(group[layer], "weight_names")
    ]
    wanted = [(layer, variable) for layer, variables in _weighted_layers(model) for variable in variables]
    if len(stored) < len(wanted):
        raise MisfitError(f"it has {plural(len(stored), 'array')}, the network {len(wanted)}")
    # The remaining arrays belong to layers after the network.
    return [_fitting(layer.name, variable, array) for (layer, variable), array in zip(wanted, stored, strict=False)]


def _match_by_key(model: Any, container: h5py.Group, *, nested: bool, partial: bool = False) -> Pairs:
    """Match the layout of Keras 3, where a layer's class and number identify it.

    Args:
        model: The model to fill.
        container: Group that holds one group per layer.
        nested: Whether the file's network has ConvNeXt's stem and downsampling as Sequential models, as Keras does.
        partial: Whether the last layers may be missing.
    """
    keys = _layer_keys(model, nested)
    pairs: Pairs = []
    for layer, variables in _weighted_layers(model):
        stored = container.get(f"{keys[layer.name]}/vars")
        count = len(stored) if isinstance(stored, h5py.Group) else 0
        if partial and pairs and not count:  # nothing after this layer is used either: it would not fit
            break
        if count != len(variables):
            raise MisfitError(f"it has {plural(count, 'array')} for layer {layer.name}, the network {len(variables)}")
        pairs.extend(_fitting(layer.name, variable, stored[str(i)]) for i, variable in enumerate(variables))
    return pairs


def _layer_keys(model: Any, nested: bool) -> dict[str, str]:
    """Return the path of each layer in a file of Keras 3: its class in snake case, numbered."""
    counts: Counter[str] = Counter()
    keys: dict[str, str] = {}
    block, block_path = "", ""
    for layer in model.layers:
        kind = snake_case(type(layer).__name__)
        match = _SEQUENTIAL_PART.search(layer.name) if nested else None
        if match is None:
            keys[layer.name] = _numbered(kind, counts)
            continue
        if (part := match[1] + (match[2] or "")) != block:
            block, block_path = part, _numbered("sequential", counts)
        keys[layer.name] = f"{block_path}/layers/{kind}"
    return keys


def _numbered(kind: str, counts: Counter[str]) -> str:
    counts[kind] += 1
    return kind if counts[kind] == 1 else f"{kind}_{counts[kind] - 1}"


def _weighted_layers(model: Any) -> list[tuple[Any, list[Any]]]:
    """Return the layers that have weights, and their weights in the order of Keras's files: trainable first."""
    layers = [(layer, [*layer.trainable_weights, *layer.non_trainable_weights]) for layer in model.layers]
    return [(layer, variables) for layer, variables in layers if variables]


def _fitting(layer: str, variable: Any, stored: Any) -> tuple[Any, h5py.Dataset]:
    """Pair a variable with a stored array if the array fits."""
    if not isinstance(stored, h5py.Dataset) or not np.issubdtype(stored.dtype, np.number):
        raise MisfitError(f"layer {layer} has data that is not numeric")
    if tuple(stored.shape) != tuple(variable.shape):
        raise MisfitError(f"layer {layer} has shape {tuple(stored.shape)}, the network {tuple(variable.shape)}")
    return variable, stored


def _has_attribute(group: h5py.Group, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """Read a list of names, which Keras splits into name0, name1, ... if it is too long for one attribute."""
    parts = [name] if name in group.attrs else []
    if not parts:
        parts = list(itertools.takewhile(group.attrs.__contains__, (f"{name}{i}" for i in itertools.count())))
    values = [value for part in parts for value in group.attrs[part]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
