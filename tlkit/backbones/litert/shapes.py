"""Shapes of what LiteRT's operators give that change no numbers: reductions, slices, shapes computed from shapes.

Each function takes an operator's inputs and options, returns what it gives, and raises ValueError if the kernel could
not be run on them. The rules are those of the kernels, as TensorFlow documents the operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.litert.flatbuffer import Table

MAX_SIDE = 1 << 24  # of a kernel, a stride, a padding

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tensor:
    """What is known of a tensor.

    Attributes:
        shape: Its shape, with a batch of 1.
        is_float: Whether it is of float32.
        is_int: Whether it is of int32.
        constant: Whether its values are in the file.
        values: Its values, if they are small integers known without running the network: int64 of that shape.
        fixed: Of each side, whether the file says that it is the same whatever the batch.
        late: Whether LiteRT finds its shape only while it runs.
    """

    shape: Shape
    is_float: bool = True
    is_int: bool = False
    constant: bool = False
    values: NDArray[np.int64] | None = None
    fixed: tuple[bool, ...] = ()
    late: bool = False


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator of a network.

    Attributes:
        code: Its kind, as the schema numbers it.
        taken: Tensors that it takes; -1 for an optional one that is missing.
        given: Tensors that it gives.
        options: Its options.
    """

    code: int
    taken: tuple[int, ...]
    given: tuple[int, ...]
    options: Table | None


Taken = Sequence[Tensor | None]


def require(fits: bool) -> None:
    """Raise ValueError unless something holds."""
    if not fits:
        raise ValueError("an operator does not fit its inputs")


def floats(*tensors: Tensor | None) -> None:
    """Require that these inputs are of float32, those that are not missing."""
    require(all(each is None or each.is_float for each in tensors))


def option(options: Table | None, field: int, letter: str, least: int, most: int, default: int = 0) -> int:
    """Return a number among an operator's options, which must lie between two others."""
    value = default if options is None else options.number(field, letter, default)
    require(least <= value <= most)
    return value


def flag(options: Table | None, field: int) -> bool:
    """Return an option that is true or false."""
    return options is not None and bool(options.number(field, "B"))


def axes(tensor: Tensor | None, rank: int) -> list[int]:
    """Return the axes that an input lists, 0..rank - 1, in order; their values must be known."""
    require(tensor is not None and tensor.values is not None)
    assert tensor is not None
    assert tensor.values is not None
    axes = [int(each) for each in tensor.values.reshape(-1)]
    require(all(-rank <= each < rank for each in axes))
    return sorted({each % rank for each in axes})


def reduced(taken: Taken, options: Table | None) -> Tensor:
    """Mean, sum, largest or smallest value along axes."""
    x, over = taken
    assert x is not None
    require((x.is_float or x.is_int) and math.prod(x.shape) > 0)
    which, keep = axes(over, len(x.shape)), flag(options, 0)
    shape = tuple(1 if number in which else side for number, side in enumerate(x.shape) if keep or number not in which)
    return Tensor(shape, x.is_float, x.is_int)


def multiplied(taken: Taken, options: Table | None) -> Tensor:
    """Product along axes."""
    found, x = reduced(taken, options), taken[0]
    assert x is not None
    if x.values is None:
        return found
    values = np.prod(x.values, axis=tuple(axes(taken[1], len(x.shape))), keepdims=flag(options, 0))
    return Tensor(found.shape, False, True, values=np.asarray(values))


def concatenated(taken: Taken, options: Table | None) -> Tensor:
    """Inputs one behind the other."""
    parts = [each for each in taken if each is not None]
    first = parts[0]
    rank = len(first.shape)
    require(len(parts) == len(taken) and rank >= 1)
    require(all((each.is_float, each.is_int) == (first.is_float, first.is_int) for each in parts))
    axis = option(options, 0, "i", -rank, rank - 1) % rank
    option(options, 1, "b", 0, 0)
    rests = {(*each.shape[:axis], *each.shape[axis + 1 :]) for each in parts}
    require(len(rests) == 1 and all(len(each.shape) == rank for each in parts))
    values = [each.values for each in parts if each.values is not None]
    known = np.concatenate(values, axis) if len(values) == len(parts) else None
    side = sum(each.shape[axis] for each in parts)
    return Tensor((*first.shape[:axis], side, *first.shape[axis + 1 :]), first.is_float, first.is_int, values=known)


def reshaped(taken: Taken, options: Table | None) -> Tensor:
    """The same values in another shape."""
    x, to = (*taken, None)[:2]
    assert x is not None
    if to is not None:
        require(to.values is not None and len(to.shape) == 1)
        assert to.values is not None
        shape = [int(each) for each in to.values]
    else:
        shape = list(options.numbers(0)) if options is not None else []
    require(shape.count(-1) <= 1 and all(each >= -1 for each in shape) and len(shape) <= 8)
    size, rest = math.prod(x.shape), math.prod(each for each in shape if each >= 0)
    if -1 in shape:
        require(rest > 0 and size % rest == 0)
        shape[shape.index(-1)] = size // rest
    require(math.prod(shape) == size)
    values = None if x.values is None else x.values.reshape(shape)
    return Tensor(tuple(shape), x.is_float, x.is_int, values=values)


def shape_of(taken: Taken, options: Table | None) -> Tensor:
    """The shape of the input."""
    (x,) = taken
    assert x is not None
    option(options, 0, "b", 2, 2)  # int32
    return Tensor((len(x.shape),), False, True, values=np.array(x.shape, np.int64))


def packed(taken: Taken, options: Table | None) -> Tensor:
    """Inputs stacked along a new axis."""
    parts = [each for each in taken if each is not None]
    first = parts[0]
    require(len(parts) == len(taken) == option(options, 0, "i", 1, MAX_SIDE))
    require(all(each.shape == first.shape and each.is_float == first.is_float for each in parts))
    require(all(each.is_int == first.is_int for each in parts))
    rank = len(first.shape)
    axis = option(options, 1, "i", -rank - 1, rank) % (rank + 1)
    values = [each.values for each in parts if each.values is not None]
    known = np.stack(values, axis) if len(values) == len(parts) else None
    shape = (*first.shape[:axis], len(parts), *first.shape[axis:])
    return Tensor(shape, first.is_float, first.is_int, values=known)


def gathered(taken: Taken, options: Table | None) -> Tensor:
    """Values at certain places of an axis."""
    x, where = taken
    assert x is not None
    assert where is not None
    require(len(x.shape) >= 1 and where.values is not None and option(options, 1, "i", 0, 0) == 0)
    assert where.values is not None
    rank = len(x.shape)
    axis = option(options, 0, "i", -rank, rank - 1) % rank
    require(bool(np.all((where.values >= 0) & (where.values < x.shape[axis]))))
    values = None if x.values is None else np.take(x.values, where.values, axis)
    return Tensor((*x.shape[:axis], *where.shape, *x.shape[axis + 1 :]), x.is_float, x.is_int, values=values)


def strided_slice(taken: Taken, options: Table | None) -> Tensor:
    """A part along each axis, with steps forwards."""
    x, *rest = taken
    assert x is not None
    rank = len(x.shape)
    limits = [each.values.tolist() for each in rest if each is not None and each.values is not None]
    require(len(limits) == 3 and 1 <= rank <= 5 and all(np.shape(each) == (rank,) for each in limits))
    from_mask, to_mask, shrink = (option(options, field, "i", 0, (1 << rank) - 1) for field in (0, 1, 4))
    for field in (2, 3, 5):  # ellipsis, new axes, ends relative to begins
        option(options, field, "B" if field == 5 else "i", 0, 0)
    keys: list[Any] = []
    for number, (start, end, step) in enumerate(zip(*limits, strict=True)):
        side, bit = x.shape[number], 1 << number
        require(step != 0)
        if shrink & bit:
            require(-side <= start < side and step == 1 and not from_mask & bit)
            keys.append(start)
        else:
            require(step > 0)
            keys.append(slice(None if from_mask & bit else start, None if to_mask & bit else end, step))
    shape = np.broadcast_to(np.int8(0), x.shape)[tuple(keys)].shape
    require(0 not in shape)
    values = None if x.values is None else np.asarray(x.values[tuple(keys)])
    return Tensor(shape, x.is_float, x.is_int, values=values)


def padded(taken: Taken, _: Table | None) -> Tensor:
    """The input with a margin."""
    x, by, value = (*taken, None)[:3]
    assert x is not None
    assert by is not None
    rank = len(x.shape)
    floats(x, value)
    require(by.values is not None and by.shape == (rank, 2) and 1 <= rank <= 5)
    require(value is None or math.prod(value.shape) == 1)
    assert by.values is not None
    require(bool(np.all((by.values >= 0) & (by.values <= MAX_SIDE))))
    return Tensor(tuple(side + int(sum(pair)) for side, pair in zip(x.shape, by.values, strict=True)))


def reversed_along(taken: Taken, _: Table | None) -> Tensor:
    """The input, mirrored along one axis."""
    x, over = taken
    assert x is not None
    assert over is not None
    floats(x)
    require(len(axes(over, len(x.shape))) == over.shape[0] == 1)
    return Tensor(x.shape)


def transposed(taken: Taken, _: Table | None) -> Tensor:
    """The input with its axes in another order."""
    x, order = taken
    assert x is not None
    assert order is not None
    floats(x)
    require(order.values is not None and len(x.shape) <= 6)
    assert order.values is not None
    require(sorted(order.values.reshape(-1).tolist()) == list(range(len(x.shape))) and len(order.shape) == 1)
    return Tensor(tuple(x.shape[int(each)] for each in order.values))
