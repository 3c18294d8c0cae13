"""Read a float32 network in LiteRT's format as a list of operations, for writers of other formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.litert.graph import Graph
from tlkit.errors import TlkitError

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of a network.

    Attributes:
        kind: Its name in the schema, such as "CONV_2D".
        inputs: Its input tensors; -1 for an optional one that is missing.
        output: Its output tensor.
        options: Its options, an object of ``ai_edge_litert.schema_py_generated``; None if it has none.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    options: Any


@dataclass(frozen=True, eq=False)
class LiteFile:
    """A network with one image input.

    Attributes:
        operations: All operations, each after those it depends on.
        shapes: Shape of each tensor; -1 for the batch size, and for a side that is not stored.
        constants: Values of the constant tensors.
        image: The input tensor, float32 [n, height, width, 3].
        outputs: The output tensors.
    """

    operations: tuple[Operation, ...]
    shapes: tuple[tuple[int, ...], ...]
    constants: dict[int, Array]
    image: int
    outputs: tuple[int, ...]


def read_lite_file(data: bytes) -> LiteFile:
    """Read a network.

    Raises:
        TlkitError: It is quantised, has several subgraphs or inputs, or an operation with several outputs.
    """
    graph = Graph(data)
    schema, tensors = graph.schema, graph.graph.tensors
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    operations = []
    for each in graph.graph.operators:
        code = graph.model.operatorCodes[each.opcodeIndex]
        kind = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "unknown")
        if len(each.outputs) != 1:
            raise TlkitError(
                f"the network cannot be converted: its operation {kind} has {len(each.outputs)} outputs",
                "export it as litert, keras or saved-model",
            )
        inputs = tuple(int(tensor) for tensor in each.inputs)
        operations.append(Operation(kind, inputs, int(each.outputs[0]), each.builtinOptions))
    dtypes: dict[int, Any] = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.INT32: np.int32,
        schema.TensorType.INT64: np.int64,
    }
    shapes, constants = tuple(map(_shape, tensors)), {}
    for number, tensor in enumerate(tensors):
        values = graph.model.buffers[tensor.buffer].data
        if values is not None and len(values) and tensor.type in dtypes:
            flat = np.frombuffer(np.asarray(values, dtype=np.uint8).tobytes(), dtype=dtypes[tensor.type])
            constants[number] = flat.reshape(shapes[number])
    outputs = tuple(int(tensor) for tensor in graph.graph.outputs)
    return LiteFile(tuple(operations), shapes, constants, int(graph.graph.inputs[0]), outputs)


def _shape(tensor: Any) -> tuple[int, ...]:
    """Return a tensor's shape, with -1 where it depends on the batch size."""
    known = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    return () if known is None else tuple(int(side) for side in known)
