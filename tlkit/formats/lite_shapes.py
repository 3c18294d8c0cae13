"""Compute what follows from the shapes of tensors, so that writers of other formats find plain numbers.

A converted network computes the target of a reshape while it runs, from the shape of a feature map: batch size, height,
width, channels. Of these only the batch size is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tlkit.formats.lite_file import Array, LiteFile

Compute = Callable[[Any, list[Array]], Array]


def with_known_shapes(file: LiteFile) -> LiteFile:
    """Return a network in which numbers that follow from shapes are constants, and what computed them is gone.

    A number that depends on the batch size is -1, as in the target of a reshape.
    """
    one, two = (_numbers(file, batch) for batch in (1, 2))
    found = {tensor: np.where(one[tensor] == two[tensor], one[tensor], -1) for tensor in one}
    kept = tuple(each for each in file.operations if each.output not in found)
    return replace(file, operations=kept, constants=file.constants | found)


def slices(options: Any, begin: Sequence[int], end: Sequence[int], step: Sequence[int]) -> list[slice | int]:
    """Return what a STRIDED_SLICE without ellipsis and new axes takes of each axis, as in NumPy's brackets.

    Args:
        options: Its options.
        begin: Index of the first element along each axis.
        end: Index after the last one.
        step: Distance between two.
    """
    found: list[slice | int] = []
    for axis, (first, last, by) in enumerate(zip(begin, end, step, strict=True)):
        if options.shrinkAxisMask >> axis & 1:
            found.append(int(first))
            continue
        start = None if options.beginMask >> axis & 1 else int(first)
        stop = None if options.endMask >> axis & 1 else int(last)
        found.append(slice(start, stop, int(by)))
    return found


def _numbers(file: LiteFile, batch: int) -> dict[int, Array]:
    """Return the integer tensors that are known once the batch size is."""
    found: dict[int, Array] = {}
    for each in file.operations:
        if each.kind == "SHAPE":
            shape = file.shapes[each.inputs[0]]
            if min(shape[1:], default=1) >= 0:
                found[each.output] = np.array([batch if side < 0 else side for side in shape], np.int64)
        elif each.kind in _COMPUTED and any(tensor in found for tensor in each.inputs):
            inputs = [found.get(tensor, file.constants.get(tensor)) for tensor in each.inputs]
            known = [values for values in inputs if values is not None]
            if len(known) == len(inputs):
                found[each.output] = np.asarray(_COMPUTED[each.kind](each.options, known), np.int64)
    return found


def _strided_slice(options: Any, inputs: list[Array]) -> Array:
    x, begin, end, step = inputs
    return np.asarray(x[tuple(slices(options, begin.tolist(), end.tolist(), step.tolist()))])


_COMPUTED: dict[str, Compute] = {
    "GATHER": lambda options, inputs: np.take(inputs[0], inputs[1], axis=options.axis),
    "REDUCE_PROD": lambda options, inputs: inputs[0].prod(axis=tuple(inputs[1].ravel()), keepdims=options.keepDims),
    "PACK": lambda options, inputs: np.stack(inputs, axis=options.axis),
    "CONCATENATION": lambda options, inputs: np.concatenate(inputs, axis=options.axis),
    "STRIDED_SLICE": _strided_slice,
}
