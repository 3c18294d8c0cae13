"""The parts of an ONNX network: nodes, constants, and tensors in two layouts.

LiteRT's feature maps are [n, height, width, channels], ONNX's convolutions take [n, channels, height, width]. A map is
transposed only where an operation needs another layout than the one it is there in, so between convolutions none is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.errors import TlkitError
from tlkit.formats.lite_file import Array, LiteFile

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
CHANNELS_FIRST_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}
FLOAT = 1  # ONNX's number of float32
MIN_HALVED = 4096  # values; halving smaller constants saves 1% of the size and doubles the error


class OnnxGraph:
    """An ONNX network under construction.

    Args:
        source: The network that it is made from; its tensors are named by their numbers.
        half: Store weights as float16. They are cast back before they are used, so the network computes in float32.
    """

    def __init__(self, source: LiteFile, *, half: bool = False) -> None:
        self.source, self.half = source, half
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._last: dict[int, str] = {source.image: "image"}  # names of tensors as they are in LiteRT
        self._first: dict[int, str] = {}  # names of maps with the channels first
        self._turned: dict[int, str] = {}  # names of constants with the channels first

    @property
    def bytes(self) -> int:
        """Size of the constants."""
        return sum(len(each.raw_data) for each in self.initializers)

    def rank(self, tensor: int) -> int:
        """Return the number of dimensions of a tensor."""
        return len(self.source.shapes[tensor])

    def is_channels_first(self, tensor: int) -> bool:
        """Return whether a tensor is a computed map that is there with the channels first."""
        return tensor in self._first

    def node(self, kind: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        output = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"node_{len(self.nodes)}", **attributes))
        return output

    def constant(self, values: Array | Sequence[int] | float, *, exact: bool = False) -> str:
        """Add a constant and return its name.

        Integers become int64, which is what ONNX takes for shapes and axes. Half precision is cast to float32 before it
        is used.

        Args:
            values: Its values.
            exact: Keep float32 in a network in half precision.
        """
        from onnx import numpy_helper

        array = np.asarray(values)
        kind: Any = np.int64 if array.dtype.kind == "i" else np.float32
        if array.dtype == np.float16 or (self.half and not exact and kind is np.float32 and _can_be_halved(array)):
            kind = np.float16
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array.astype(kind, order="C"), name))
        return self.node("Cast", [name], to=FLOAT) if kind is np.float16 else name

    def values(self, tensor: int) -> Array | None:
        """Return the values of a constant tensor, else None."""
        return self.source.constants.get(tensor)

    def last(self, tensor: int) -> str:
        """Return the name of a tensor as it is in LiteRT, channels last."""
        if tensor not in self._last:
            values = self.values(tensor)
            if values is not None:
                self._last[tensor] = self.constant(values)
            else:
                self._last[tensor] = self.node("Transpose", [self._first[tensor]], perm=TO_CHANNELS_LAST)
        return self._last[tensor]

    def first(self, tensor: int) -> str:
        """Return the name of a map, or of a constant that is combined with maps, with the channels first."""
        values = self.values(tensor)
        if values is not None:
            if tensor not in self._turned:
                wide = values.reshape((1,) * (4 - values.ndim) + values.shape)
                self._turned[tensor] = self.constant(wide.transpose(TO_CHANNELS_FIRST))
            return self._turned[tensor]
        if tensor not in self._first:
            self._first[tensor] = self.node("Transpose", [self._last[tensor]], perm=TO_CHANNELS_FIRST)
        return self._first[tensor]

    def keep(self, tensor: int, name: str, *, channels_first: bool) -> None:
        """Record the name of the node that computes a tensor, and the layout."""
        (self._first if channels_first else self._last)[tensor] = name


def _can_be_halved(array: Array) -> bool:
    return array.size >= MIN_HALVED and bool(np.abs(array).max() <= np.finfo(np.float16).max)


def unsupported(what: str) -> TlkitError:
    """Return the error for a network that has no equivalent in ONNX, or none that is written here."""
    return TlkitError(f"the network cannot be converted to ONNX: {what}", "export it as litert, keras or saved-model")
