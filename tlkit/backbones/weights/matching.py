"""Which array of a weights file belongs to which variable of a network, in the layouts of Keras 1 to 3."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import Any

import h5py
import numpy as np

from tlkit.backbones.weights.partial_load import (
    EVERYTHING,
    Filling,
    MisfitError,
    Stored,
    fill_by_name,
    snake_case,
    stored_by_name,
)

# Layers that Keras nests in Sequential models and build_backbone does not: ConvNeXt's stem and downsampling.
_SEQUENTIAL_PART = re.compile(r"_(stem|downsampling)_(?:conv|layernorm)(_\d+)?$")

Pairs = list[tuple[Any, h5py.Dataset]]
"""Each variable of the model with the stored array that fills it."""


def match_weights(model: Any, file: h5py.File, partial: bool) -> tuple[Pairs, Filling]:
    """Match the whole network if the file has it, else what it has by name.

    Raises:
        MisfitError: The file is another network's.
    """
    try:
        return _match(model, file, partial), EVERYTHING
    except MisfitError:
        group = _legacy_group(file)
        stored = stored_by_name(file) if group is None else _stored_in_order(group)
        if not stored.arrays:
            raise
        return fill_by_name(_weighted_layers(model), stored)


def _stored_in_order(group: h5py.Group) -> Stored:
    """What Keras 1 and 2 saved of each layer."""
    names = {layer: _attribute(group[layer], "weight_names") for layer in _attribute(group, "layer_names")}
    arrays = {layer: [group[layer][weight] for weight in weights] for layer, weights in names.items() if weights}
    return Stored(arrays, [list(arrays)])


def _match(model: Any, file: h5py.File, partial: bool = False) -> Pairs:
    """Find the array for every variable of the model, or of its first layers, whichever layout the file has.

    Raises:
        MisfitError: No layout in the file fits the network.
    """
    if (group := _legacy_group(file)) is not None:
        return _match_in_order(model, group)
    containers: list[h5py.Group] = []
    file.visititems(lambda name, item: containers.append(item) if _is_layers(name, item) else None)
    if not containers:
        raise ValueError("it has none of the layouts of Keras")
    misfits = []
    # A backbone may also be nested in the model that was saved; the outermost container that fits is taken.
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
    """Return the group of a file of Keras 1 and 2's layout: the root, or a part of a whole saved model."""
    group = file.get("model_weights", file)
    return group if _has_attribute(group, "layer_names") else None


def _match_in_order(model: Any, group: h5py.Group) -> Pairs:
    """Match Keras 1 and 2's layout, where layers are told apart by their order alone."""
    stored = [
        group[layer][weight]
        for layer in _attribute(group, "layer_names")
        for weight in _attribute(group[layer], "weight_names")
    ]
    wanted = [(layer, variable) for layer, variables in _weighted_layers(model) for variable in variables]
    if len(stored) < len(wanted):
        raise MisfitError(f"it has {len(stored)} arrays, the network {len(wanted)}")
    # What is left over belongs to layers behind the network.
    return [_fitting(layer.name, variable, array) for (layer, variable), array in zip(wanted, stored, strict=False)]


def _match_by_key(model: Any, container: h5py.Group, *, nested: bool, partial: bool = False) -> Pairs:
    """Match Keras 3's layout, where a layer is found by its class and number.

    Args:
        model: The model to fill.
        container: Group that holds one group a layer.
        nested: The file's network has ConvNeXt's stem and downsampling as Sequential models, as Keras does.
        partial: The last layers may be missing.
    """
    keys = _layer_keys(model, nested)
    pairs: Pairs = []
    for layer, variables in _weighted_layers(model):
        stored = container.get(f"{keys[layer.name]}/vars")
        count = len(stored) if isinstance(stored, h5py.Group) else 0
        if partial and pairs and not count:  # nothing behind this layer is taken either: it would not fit
            break
        if count != len(variables):
            raise MisfitError(f"it has {count} arrays for layer {layer.name}, the network {len(variables)}")
        pairs.extend(_fitting(layer.name, variable, stored[str(i)]) for i, variable in enumerate(variables))
    return pairs


def _layer_keys(model: Any, nested: bool) -> dict[str, str]:
    """Return the path that Keras 3 saves each layer under: its class in snake case, numbered."""
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
    """Return the layers that have weights, each with them in the order of Keras's files: trainable first."""
    layers = [(layer, [*layer.trainable_weights, *layer.non_trainable_weights]) for layer in model.layers]
    return [(layer, variables) for layer, variables in layers if variables]


def _fitting(layer: str, variable: Any, stored: Any) -> tuple[Any, h5py.Dataset]:
    """Pair a variable with a stored array if it may be filled with it."""
    if not isinstance(stored, h5py.Dataset) or not np.issubdtype(stored.dtype, np.number):
        raise MisfitError(f"layer {layer} has something else than numbers")
    if tuple(stored.shape) != tuple(variable.shape):
        raise MisfitError(f"layer {layer} has shape {tuple(stored.shape)}, the network {tuple(variable.shape)}")
    return variable, stored


def _has_attribute(group: h5py.Group, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """Read a list of names, which Keras splits into name0, name1, ... where one attribute is too small."""
    parts = [name] if name in group.attrs else []
    if not parts:
        parts = list(itertools.takewhile(group.attrs.__contains__, (f"{name}{i}" for i in itertools.count())))
    values = [value for part in parts for value in group.attrs[part]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
