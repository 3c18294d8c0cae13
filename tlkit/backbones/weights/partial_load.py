"""Load a weights file that fills only some layers of a network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from tlkit.words import plural

MAX_NAMED = 3  # unfilled layers named for each reason


class MisfitError(Exception):
    """A file holds weights, but of another network; the message names the first difference."""


@dataclass(frozen=True)
class PartialLoad:
    """The layers of a network that a file filled.

    Attributes:
        filled: Names of the layers that the file filled, from input to output.
        missing: (layer, reason) of the other layers with weights.
    """

    filled: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()

    def note(self, file: str) -> str:
        """Return a note for the user; "" if everything was filled."""
        return f"{file} fills {self.share}, the others have ImageNet weights: {self.reasons}" if self.missing else ""

    @property
    def share(self) -> str:
        """The number of filled layers, such as "85 of 86 layers"."""
        return f"{len(self.filled)} of {len(self.filled) + len(self.missing)} layers"

    @property
    def reasons(self) -> str:
        """The reasons why layers were not filled, with the names of the first few layers for each."""
        layers: dict[str, list[str]] = {}
        for layer, why in self.missing:
            layers.setdefault(why, []).append(layer)
        return "; ".join(f"{len(names)} {why} ({_listed(names)})" for why, names in layers.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:MAX_NAMED], *(["..."] if len(names) > MAX_NAMED else [])])


EVERYTHING = PartialLoad()


@dataclass(frozen=True)
class StoredLayers:
    """The layers of a file that have weights.

    Attributes:
        arrays: The arrays of each layer, by its name.
        runs: Lists of layer names in order: one list of all layers, or one for each class.
    """

    arrays: Mapping[str, Sequence[Any]]
    runs: Sequence[Sequence[str]]


def match_by_name(
    layers: Sequence[tuple[Any, list[Any]]], stored: StoredLayers
) -> tuple[list[tuple[Any, Any]], PartialLoad]:
    """Match layers one by one by name.

    A file of another network of the same family, such as ResNet101's for ResNet50, has layers of the same names too. It
    is recognised by its unused layers. Before the last layer that fits, there may be at most as many unused layers as
    the network has unfilled ones. In total, there must be fewer unused layers than layers that fit.

    Args:
        layers: (layer, its variables) for the layers of the network with weights.
        stored: The layers of the file.

    Returns:
        (variable, array) pairs, and the layers that they fill.

    Raises:
        MisfitError: No layer fits, or the file belongs to another network.
    """
    pairs: list[tuple[Any, Any]] = []
    filled, missing = [], []
    for layer, variables in layers:
        arrays = stored.arrays.get(layer.name)
        if why := _misfit(layer, variables, arrays):
            missing.append((layer.name, why))
            continue
        filled.append(layer.name)
        pairs.extend(zip(variables, arrays or (), strict=True))
    if not filled:
        raise MisfitError(f"it has none of the network's {len(layers)} layers with weights in the same shape")
    unused = len(stored.arrays) - len(filled)
    if unused >= len(filled) or _ahead(stored, set(filled)) > len(missing):
        raise MisfitError(f"the network lacks {unused} of its {len(stored.arrays)} layers")
    return pairs, PartialLoad(tuple(filled), tuple(missing))


def _ahead(stored: StoredLayers, used: set[str]) -> int:
    """Return the number of unused layers of the file that come before a used one."""
    count = 0
    for run in stored.runs:
        last = max((index for index, name in enumerate(run) if name in used), default=0)
        count += sum(name not in used for name in run[:last])
    return count


def _misfit(layer: Any, variables: Sequence[Any], arrays: Sequence[Any] | None) -> str:
    """Return why arrays cannot fill a layer's variables; "" if they can."""
    if re.fullmatch(rf"{snake_case(type(layer).__name__)}_\d+", layer.name):
        return "identified only by number, so only a complete file can fill them"
    if arrays is None:
        return "not in the file"
    if len(arrays) != len(variables):
        return f"with {plural(len(arrays), 'array')} instead of {len(variables)}"
    for variable, array in zip(variables, arrays, strict=True):
        if not isinstance(array, h5py.Dataset) or not np.issubdtype(array.dtype, np.number):
            return "with data that is not numeric"
        if tuple(array.shape) != tuple(variable.shape):
            return f"of shape {tuple(array.shape)} instead of {tuple(variable.shape)}"
    return ""


def snake_case(name: str) -> str:
    """Return the name of a class as Keras spells it in its files: ``conv2d`` for ``Conv2D``, ``re_lu`` for ``ReLU``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def stored_by_name(file: h5py.Group) -> StoredLayers:
    """Return the layers of a file of Keras 3, nested models flattened; empty if the file has no layer names.

    Groups are named by class and number, which gives the order of layers of the same class.
    """
    arrays: dict[str, list[Any]] = {}
    runs: dict[str, list[tuple[int, str]]] = {}

    def visit(path: str, item: Any) -> None:
        if not isinstance(item, h5py.Group) or not path.endswith("/vars") or not len(item) or "name" not in item.attrs:
            return
        if path.startswith("optimizer"):
            return
        name = item.attrs["name"]
        name = name.decode() if isinstance(name, bytes) else str(name)
        arrays[name] = [item[key] for key in sorted(item, key=lambda key: (len(key), key))]
        kind, number = re.fullmatch(r"(.*?)(?:_(\d+))?", path.removesuffix("/vars")).groups()  # type: ignore[union-attr]
        runs.setdefault(kind, []).append((int(number or 0), name))

    file.visititems(visit)
    return StoredLayers(arrays, [[name for _, name in sorted(run)] for run in runs.values()])
