"""LiteRT's operators that networks of images consist of: how each looks, and the shape that it gives.

An operator that is not in `OPERATORS` may occur in a network of one's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlkit.backbones.litert.flatbuffer import Table
from tlkit.backbones.litert.shapes import (
    MAX_SIDE,
    Shape,
    Taken,
    Tensor,
    concatenated,
    flag,
    floats,
    gathered,
    multiplied,
    option,
    packed,
    padded,
    reduced,
    require,
    reshaped,
    reversed_along,
    shape_of,
    strided_slice,
    transposed,
)

_SAME = 0
_ACTIVATIONS = 4  # none and three kinds of ReLU, numbered from 0

Infer = Callable[[Any, Table | None], Tensor]


@dataclass(frozen=True)
class Form:
    """How operators of one kind look.

    Attributes:
        infer: Gives the output; raises ValueError if the inputs or options are not as they must be.
        options: Number of the kind of options; 0: any, as none is read.
        fields: How many fields these have.
        least: Number of inputs that are required.
        most: Largest number of inputs.
    """

    infer: Infer
    options: int = 0
    fields: int = 16
    least: int = 1
    most: int = 1


def _window(sides: Shape, kernel: Shape, strides: Shape, dilations: Shape, padding: int) -> Shape:
    """Height and width after a window has moved over them."""
    found = []
    for side, each, stride, dilation in zip(sides, kernel, strides, dilations, strict=True):
        require(each >= 1)
        span = (each - 1) * dilation + 1
        found.append(-(-side // stride) if padding == _SAME else (side - span) // stride + 1)
        require(found[-1] >= 1)
    return tuple(found)


def _convolution(taken: Taken, options: Table | None, *, depthwise: bool) -> Tensor:
    x, weights, bias = (*taken, None)[:3]
    assert x is not None
    assert weights is not None
    floats(x, weights, bias)
    require(len(x.shape) == len(weights.shape) == 4 and weights.constant)
    batch, *sides, channels = x.shape
    given = weights.shape[3 if depthwise else 0]
    if depthwise:
        require(weights.shape[0] == 1 and channels > 0 and given > 0)
        require(given == channels * option(options, 3, "i", 1, MAX_SIDE))
    else:
        per_group = weights.shape[3]
        require(per_group > 0 and given > 0 and channels % per_group == 0 and channels > 0)
        require(given % (channels // per_group) == 0)
    require(bias is None or (bias.shape == (given,) and bias.constant))
    after = 4 if depthwise else 3
    option(options, after, "b", 0, _ACTIVATIONS - 1)
    padding = option(options, 0, "b", 0, 1)
    strides = option(options, 2, "i", 1, MAX_SIDE), option(options, 1, "i", 1, MAX_SIDE)
    dilations = tuple(option(options, after + each, "i", 1, MAX_SIDE, 1) for each in (2, 1))
    return Tensor((batch, *_window(tuple(sides), weights.shape[1:3], strides, dilations, padding), given))


def _pool(taken: Taken, options: Table | None) -> Tensor:
    (x,) = taken
    assert x is not None
    floats(x)
    require(len(x.shape) == 4)
    batch, *sides, channels = x.shape
    strides = option(options, 2, "i", 1, MAX_SIDE), option(options, 1, "i", 1, MAX_SIDE)
    kernel = option(options, 4, "i", 1, MAX_SIDE), option(options, 3, "i", 1, MAX_SIDE)
    option(options, 5, "b", 0, _ACTIVATIONS - 1)
    found = _window(tuple(sides), kernel, strides, (1, 1), option(options, 0, "b", 0, 1))
    return Tensor((batch, *found, channels))


def _dense(taken: Taken, options: Table | None) -> Tensor:
    x, weights, bias = (*taken, None)[:3]
    assert x is not None
    assert weights is not None
    floats(x, weights, bias)
    require(len(weights.shape) == 2 and min(weights.shape) > 0 and len(x.shape) >= 1)
    given, width = weights.shape
    require(bias is None or bias.shape == (given,))
    option(options, 0, "b", 0, _ACTIVATIONS - 1)
    option(options, 1, "b", 0, 0)
    if options is not None:
        options.refuse(5)
    size = math.prod(x.shape)
    require(size % width == 0)
    if flag(options, 2):
        require(x.shape[-1] == width)
        return Tensor((*x.shape[:-1], given))
    return Tensor((size // width, given))


def _binary(taken: Taken, options: Table | None) -> Tensor:
    a, b = taken
    assert a is not None
    assert b is not None
    require((a.is_float and b.is_float) or (a.is_int and b.is_int))
    require(max(len(a.shape), len(b.shape)) <= 5)
    option(options, 0, "b", 0, _ACTIVATIONS - 1)
    return Tensor(np.broadcast_shapes(a.shape, b.shape), a.is_float, a.is_int)


def _unary(taken: Taken, _: Table | None) -> Tensor:
    (x,) = taken
    assert x is not None
    floats(x)
    return Tensor(x.shape)


def _softmax(taken: Taken, options: Table | None) -> Tensor:
    found = _unary(taken, options)
    require(1 <= len(found.shape) <= 4 and min(found.shape) > 0)
    return found


def _depthwise(taken: Taken, options: Table | None) -> Tensor:
    return _convolution(taken, options, depthwise=True)


def _convolved(taken: Taken, options: Table | None) -> Tensor:
    return _convolution(taken, options, depthwise=False)


_MANY = 10_000
_BINARY = {0: 11, 18: 21, 41: 28, 42: 29, 55: 0, 57: 0, 99: 0}  # ADD, MUL, SUB, DIV, MAXIMUM, MINIMUM, SQUARED_DIFF.
_UNARY = (14, 19, 20, 21, 28, 47, 59, 75, 76, 92, 101, 111, 117, 150)

OPERATORS: dict[int, Form] = {
    **{code: Form(_binary, options, 2, 2, 2) for code, options in _BINARY.items()},
    **{code: Form(_unary) for code in _UNARY},
    3: Form(_convolved, 1, 7, 2, 3),
    4: Form(_depthwise, 2, 7, 2, 3),
    **{code: Form(_pool, 5, 6) for code in (1, 17)},
    9: Form(_dense, 8, 6, 2, 3),
    25: Form(_softmax, 9, 1),
    **{code: Form(reduced, 27, 1, 2, 2) for code in (40, 74, 82, 89)},
    81: Form(multiplied, 27, 1, 2, 2),
    2: Form(concatenated, 10, 2, 1, _MANY),
    22: Form(reshaped, 17, 1, 1, 2),
    77: Form(shape_of, 55, 1),
    83: Form(packed, 59, 2, 1, _MANY),
    36: Form(gathered, 23, 2, 2, 2),
    45: Form(strided_slice, 32, 6, 4, 4),
    34: Form(padded, 22, 0, 2, 2),
    60: Form(padded, 43, 0, 3, 3),
    105: Form(reversed_along, 0, 16, 2, 2),
    39: Form(transposed, 26, 0, 2, 2),
}
"""Forms by the number of the operator."""
