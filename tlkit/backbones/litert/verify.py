"""Check a network in LiteRT's format, which a stranger may have written, before LiteRT reads it.

LiteRT trusts its files: it looks at whatever place they name, and its kernels rely on shapes that they have been told.
So everything is checked here: that each table, vector and text lies within the file, that each number which names a
tensor, a buffer or an operator names one, that constants have as many bytes as their shapes need, that operators form
no circle, and that each gives the shape that follows from its inputs and options (`operators`).
"""

from __future__ import annotations

import math
import mmap
from dataclasses import replace
from pathlib import Path

import numpy as np

from tlkit.backbones.litert.flatbuffer import Table, root
from tlkit.backbones.litert.operators import OPERATORS
from tlkit.backbones.litert.shapes import Operator, Tensor

MAX_TENSOR = 2 << 30  # bytes
MAX_COUNT = 100_000  # tensors, buffers, operators
MAX_RANK = 8
_TYPES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 9: 1}  # bytes of an element; no texts, resources or 4-bit numbers
_FLOAT32, _INT32 = 0, 2
_FIELDS = {"model": 10, "code": 4, "graph": 6, "tensor": 11, "buffer": 3, "operator": 14, "name": 2, "signature": 5}
_MAX_KNOWN = 1024  # elements of an integer constant that may be a shape


def verify_lite(file: Path) -> tuple[str, ...]:
    """Check a file.

    Args:
        file: The file, which is mapped into memory, not read.

    Returns:
        Numbers of the operators in it whose shapes cannot be checked, as the schema numbers them.

    Raises:
        ValueError: It is no network, or not one that LiteRT can run safely.
        OSError: It cannot be read.
    """
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            return verify_graph(memoryview(mapped))
        except ValueError as error:  # whose frames hold parts of the file, which then cannot be closed
            problem = str(error)
    raise ValueError(problem)


def verify_graph(data: memoryview) -> tuple[str, ...]:
    """Check the contents of a file; see `verify_lite`."""
    model = root(data, b"TFL3", _FIELDS["model"])
    model.refuse(8, 9)
    model.text(3)
    buffers = [_buffer(each) for each in _some(model, 4, "buffer")]
    codes = [_code(each) for each in _some(model, 1, "code")]
    graphs = _some(model, 2, "graph")
    if len(graphs) != 1:
        raise ValueError("it has more than one graph, or none")
    graph = graphs[0]
    graph.text(4)
    tensors = [_tensor(each, buffers) for each in _some(graph, 0, "tensor")]
    _check_names(model, len(buffers), len(tensors))
    inputs, outputs = (_indices(graph.numbers(field), len(tensors)) for field in (1, 2))
    if len(inputs) != 1 or not outputs:
        raise ValueError("it has no input or output, or several inputs")
    known = {number for number, each in enumerate(tensors) if each.constant} | set(inputs)
    if tensors[inputs[0]].constant:
        raise ValueError("its input is a constant")
    unknown: list[str] = []
    for each in _some(graph, 3, "operator"):
        operator = _operator(each, codes, tensors)
        if not known.issuperset(number for number in operator.taken if number >= 0) or known & set(operator.given):
            raise ValueError("its operators are not in an order in which they can be computed")
        known.update(operator.given)
        _check_operator(operator, tensors, unknown)
    if not known.issuperset(outputs):
        raise ValueError("an output is not computed")
    return tuple(dict.fromkeys(unknown))


def _some(table: Table, field: int, kind: str) -> list[Table]:
    found = []
    for each in table.tables(field, _FIELDS[kind]):
        found.append(each)
        if len(found) > MAX_COUNT:
            raise ValueError("it has too many parts")
    return found


def _buffer(table: Table) -> memoryview:
    table.refuse(1, 2)
    return table.bytes_at(0)


def _code(table: Table) -> int:
    table.refuse(1)
    return max(table.number(0, "b"), table.number(3, "i"))


def _tensor(table: Table, buffers: list[memoryview]) -> Tensor:
    table.refuse(6, 9, 10)
    table.text(3)
    quantization = table.table(4, 7)
    if quantization is not None:
        quantization.refuse(0, 1, 2, 3, 4, 5)
    shape, kind = table.numbers(0), table.number(1, "b")
    number = table.number(2, "I")
    if table.number(5, "B") or kind not in _TYPES or number >= len(buffers):
        raise ValueError("a tensor has a type or a buffer that there is not")
    size = math.prod(shape) * _TYPES[kind]
    if len(shape) > MAX_RANK or any(side < 0 for side in shape) or size > MAX_TENSOR:
        raise ValueError("a tensor is too large")
    signature = table.numbers(7)
    if signature and (
        len(signature) != len(shape) or any(a not in (-1, b) for a, b in zip(signature, shape, strict=True))
    ):
        raise ValueError("a tensor has two shapes")
    data = buffers[number]
    if len(data) and (number == 0 or len(data) != size):
        raise ValueError("a constant has more or fewer bytes than its shape needs")
    values = None
    if len(data) and kind == _INT32 and len(data) <= 4 * _MAX_KNOWN:
        values = np.frombuffer(data, "<i4").astype(np.int64).reshape(shape)
    fixed = tuple(side != -1 for side in signature) or (True,) * len(shape)
    return Tensor(shape, kind == _FLOAT32, kind == _INT32, len(data) > 0, values, fixed)


def _operator(table: Table, codes: list[int], tensors: list[Tensor]) -> Operator:
    table.refuse(5, 6, 9, 10, 11, 12)
    number = table.number(0, "I")
    if number >= len(codes) or table.numbers(7, "B") or table.numbers(8):
        raise ValueError("an operator is of a kind that there is not")
    taken = _indices(table.numbers(1), len(tensors), optional=True)
    given = _indices(table.numbers(2), len(tensors))
    code, kind = codes[number], table.number(3, "B")
    form = OPERATORS.get(code)
    if form is None:
        return Operator(code, taken, given, None)
    if form.options not in (0, kind) and kind:
        raise ValueError("an operator has the options of another")
    return Operator(code, taken, given, table.table(4, form.fields) if kind else None)


def _indices(numbers: tuple[int, ...], count: int, *, optional: bool = False) -> tuple[int, ...]:
    if any(not (-1 if optional else 0) <= number < count for number in numbers):
        raise ValueError("a number names no tensor")
    return numbers


def _check_operator(operator: Operator, tensors: list[Tensor], unknown: list[str]) -> None:
    """Compare the shapes that an operator gives with those that follow from what it takes."""
    form = OPERATORS.get(operator.code)
    if form is None:
        unknown.append(str(operator.code))
        return
    taken = [tensors[number] if number >= 0 else None for number in operator.taken]
    if (
        len(operator.given) != 1
        or not form.least <= len(taken) <= form.most
        or any(each is None for each in taken[: form.least])
    ):
        raise ValueError("an operator has too few or too many inputs or outputs")
    found, given = form.infer(taken, operator.options), tensors[operator.given[0]]
    if math.prod(found.shape) * _TYPES[_FLOAT32] > MAX_TENSOR:
        raise ValueError("a tensor is too large")
    # the shape is computed while the network runs: where it follows from shapes that are not constants, and after that
    late = any(each is not None and (each.late or (each.values is not None and not each.constant)) for each in taken)
    alike = [
        side == told or (late and not said)
        for side, told, said in zip(found.shape, given.shape, given.fixed, strict=False)
    ]
    if (
        given.constant
        or len(found.shape) != len(given.shape)
        or not all(alike)
        or (found.is_float, found.is_int) != (given.is_float, given.is_int)
    ):
        raise ValueError(f"operator {operator.code} gives another shape than its output has")
    tensors[operator.given[0]] = replace(found, late=late)


def _check_names(model: Table, buffers: int, tensors: int) -> None:
    """Check what has no effect on the result: metadata and the names of input and outputs."""
    if any(not 0 <= number < buffers for number in model.numbers(5)):
        raise ValueError("metadata name no buffer")
    for each in _some(model, 6, "name"):
        each.text(0)
        if each.number(1, "I") >= buffers:
            raise ValueError("metadata name no buffer")
    for signature in _some(model, 7, "signature"):
        signature.text(2)
        if signature.number(4, "I"):
            raise ValueError("a signature names no graph")
        for field in (0, 1):
            for each in _some(signature, field, "name"):
                each.text(0)
                _indices((each.number(1, "I"),), tensors)
