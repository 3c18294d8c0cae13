"""LiteRT's operations on single values as nodes of ONNX: activations, sums, products."""

from __future__ import annotations

import math
from collections.abc import Callable

from tlkit.formats.lite_file import Operation
from tlkit.formats.onnx_graph import OnnxGraph, unsupported

_RELU, _RELU_N1_TO_1, _RELU6, _TANH = range(1, 5)  # the schema's numbers of fused activations


def add_unary(graph: OnnxGraph, its: Operation) -> None:
    """Add an operation on one tensor, in the layout in which that is there."""
    first = graph.is_channels_first(its.inputs[0])
    x = graph.first(its.inputs[0]) if first else graph.last(its.inputs[0])
    graph.keep(its.output, UNARY[its.kind](graph, x, its), channels_first=first)


def add_binary(graph: OnnxGraph, its: Operation) -> None:
    """Add an operation on two tensors that are broadcast, in the layout in which the maps are there."""
    maps = [x for x in its.inputs if graph.values(x) is None]
    first = any(graph.is_channels_first(x) for x in maps) and all(graph.rank(x) == 4 for x in maps)
    x, y = (graph.first(each) if first else graph.last(each) for each in its.inputs)
    found = BINARY[its.kind](graph, x, y)
    activation = getattr(its.options, "fusedActivationFunction", 0)
    graph.keep(its.output, activated(graph, found, activation), channels_first=first)


def activated(graph: OnnxGraph, x: str, activation: int) -> str:
    """Add an activation that LiteRT fuses with the operation before it, and return the name of its output.

    Raises:
        TlkitError: It is none of ReLU, -1 to 1, ReLU6 and tanh.
    """
    bounds = {_RELU_N1_TO_1: (-1.0, 1.0), _RELU6: (0.0, 6.0)}
    names = {_RELU: "Relu", _TANH: "Tanh"}
    if activation in bounds:
        return graph.node("Clip", [x, *(graph.constant(each) for each in bounds[activation])])
    if activation and activation not in names:
        raise unsupported(f"activation {activation} is not known")
    return graph.node(names[activation], [x]) if activation else x


def _gelu(graph: OnnxGraph, x: str, its: Operation) -> str:
    """Add GELU, which is an operation of its own only from opset 20 on."""
    if getattr(its.options, "approximate", False):  # x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))
        cube = graph.node("Mul", [graph.node("Mul", [x, x]), graph.node("Mul", [x, graph.constant(0.044715)])])
        inner = graph.node("Mul", [graph.node("Add", [x, cube]), graph.constant(math.sqrt(2 / math.pi))])
        raised = graph.node("Tanh", [inner])
    else:  # x / 2 * (1 + erf(x / sqrt(2)))
        raised = graph.node("Erf", [graph.node("Mul", [x, graph.constant(1 / math.sqrt(2))])])
    share = graph.node("Add", [raised, graph.constant(1.0)])
    return graph.node("Mul", [graph.node("Mul", [x, graph.constant(0.5)]), share])


def _leaky_relu(graph: OnnxGraph, x: str, its: Operation) -> str:
    return graph.node("LeakyRelu", [x], alpha=float(its.options.alpha))


def _rsqrt(graph: OnnxGraph, x: str, _: Operation) -> str:
    return graph.node("Reciprocal", [graph.node("Sqrt", [x])])


def _square(graph: OnnxGraph, x: str, _: Operation) -> str:
    return graph.node("Mul", [x, x])


def _squared_difference(graph: OnnxGraph, x: str, y: str) -> str:
    difference = graph.node("Sub", [x, y])
    return graph.node("Mul", [difference, difference])


def _one(kind: str) -> Callable[[OnnxGraph, str, Operation], str]:
    return lambda graph, x, _: graph.node(kind, [x])


def _bounded(activation: int) -> Callable[[OnnxGraph, str, Operation], str]:
    return lambda graph, x, _: activated(graph, x, activation)


def _two(kind: str) -> Callable[[OnnxGraph, str, str], str]:
    return lambda graph, x, y: graph.node(kind, [x, y])


UNARY: dict[str, Callable[[OnnxGraph, str, Operation], str]] = {
    "ABS": _one("Abs"),
    "ELU": _one("Elu"),
    "EXP": _one("Exp"),
    "GELU": _gelu,
    "HARD_SWISH": _one("HardSwish"),
    "LEAKY_RELU": _leaky_relu,
    "LOG": _one("Log"),
    "LOGISTIC": _one("Sigmoid"),
    "NEG": _one("Neg"),
    "RELU": _one("Relu"),
    "RELU6": _bounded(_RELU6),
    "RELU_N1_TO_1": _bounded(_RELU_N1_TO_1),
    "RSQRT": _rsqrt,
    "SQRT": _one("Sqrt"),
    "SQUARE": _square,
    "TANH": _one("Tanh"),
}
BINARY: dict[str, Callable[[OnnxGraph, str, str], str]] = {
    "ADD": _two("Add"),
    "DIV": _two("Div"),
    "MAXIMUM": _two("Max"),
    "MINIMUM": _two("Min"),
    "MUL": _two("Mul"),
    "PRELU": _two("PRelu"),
    "SQUARED_DIFFERENCE": _squared_difference,
    "SUB": _two("Sub"),
}
