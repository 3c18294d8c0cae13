"""Which layers of a network a weights file fills, where it does not fill all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

MAX_NAMED = 3  # layers that were not filled for one reason, named in one line


class MisfitError(Exception):
    """A file holds weights, but not this network's; the text says where they part."""


@dataclass(frozen=True)
class Filling:
    """How a file filled a network.

    Attributes:
        filled: Names of the layers that the file filled, from input to output.
        missing: (layer, why not) of the others that have weights.
    """

    filled: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()

    def line(self, file: str) -> str:
        """What to say of it; "" where everything was filled."""
        return f"{file} fills {self.share}, the others have ImageNet weights: {self.reasons}" if self.missing else ""

    @property
    def share(self) -> str:
        """Such as "85 of 86 layers"."""
        return f"{len(self.filled)} of {len(self.filled) + len(self.missing)} layers"

    @property
    def reasons(self) -> str:
        """The layers that were not filled, and why; the first few of each reason by name."""
        layers: dict[str, list[str]] = {}
        for layer, why in self.missing:
            layers.setdefault(why, []).append(layer)
        return "; ".join(f"{len(names)} {why} ({_listed(names)})" for why, names in layers.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:MAX_NAMED], *(["..."] if len(names) > MAX_NAMED else [])])


EVERYTHING = Filling()


@dataclass(frozen=True)
class Stored:
    """The layers of a file that have weights.

    Attributes:
        arrays: What it holds of each, by the layer's name.
        runs: The names, in lists that each have an order: all of them in one, or those of one class.
    """

    arrays: Mapping[str, Sequence[Any]]
    runs: Sequence[Sequence[str]]


def fill_by_name(layers: Sequence[tuple[Any, list[Any]]], stored: Stored) -> tuple[list[tuple[Any, Any]], Filling]:
    """Match layers by their names, one by one.

    A file of another network of the same family, such as ResNet101's for ResNet50, has layers of the same names too.
    What gives it away are its layers that have no place: ahead of others that fit there may be at most as many as the
    network has that are not filled, and behind them, where a classifier lies, fewer than fit.

    Args:
        layers: Of the network, those with weights: (layer, its variables).
        stored: What the file holds.

    Returns:
        (variable, array) pairs, and what they fill.

    Raises:
        MisfitError: Nothing fits, or the file is another network's.
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
        raise MisfitError(f"none of the network's {len(layers)} layers with weights is in it with the same shape")
    unused = len(stored.arrays) - len(filled)
    if unused >= len(filled) or _ahead(stored, set(filled)) > len(missing):
        raise MisfitError(f"{unused} of its {len(stored.arrays)} layers have no place in the network")
    return pairs, Filling(tuple(filled), tuple(missing))


def _ahead(stored: Stored, used: set[str]) -> int:
    """How many layers of the file that were not used lie ahead of one that was."""
    count = 0
    for run in stored.runs:
        last = max((index for index, name in enumerate(run) if name in used), default=0)
        count += sum(name not in used for name in run[:last])
    return count


def _misfit(layer: Any, variables: Sequence[Any], arrays: Sequence[Any] | None) -> str:
    """Why arrays cannot fill a layer's variables; "" if they can."""
    if re.fullmatch(rf"{snake_case(type(layer).__name__)}_\d+", layer.name):
        return "known by number alone, so that only a whole file fills them"
    if arrays is None:
        return "not in the file"
    if len(arrays) != len(variables):
        return f"with {len(arrays)} arrays in place of {len(variables)}"
    for variable, array in zip(variables, arrays, strict=True):
        if not isinstance(array, h5py.Dataset) or not np.issubdtype(array.dtype, np.number):
            return "with something else than numbers"
        if tuple(array.shape) != tuple(variable.shape):
            return f"of shape {tuple(array.shape)} in place of {tuple(variable.shape)}"
    return ""


def snake_case(name: str) -> str:
    """Spell a class's name as Keras does in its files: ``Conv2D`` is ``conv2d``, ``ReLU`` is ``re_lu``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def stored_by_name(file: h5py.Group) -> Stored:
    """What Keras 3 saved of each layer, nested models taken apart; empty where it kept no names.

    Its groups are called by class and number, which order the layers of one class.
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
    return Stored(arrays, [[name for _, name in sorted(run)] for run in runs.values()])
