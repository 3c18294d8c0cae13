"""Each operation of ONNX networks, against LiteRT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tlkit.backbones.engines import lite_maps
from tlkit.backbones.litert.graph import Graph
from tlkit.errors import TlkitError
from tlkit.formats.lite_file import read_lite_file
from tlkit.formats.onnx import onnx_model, onnx_session
from tlkit.formats.onnx_elements import BINARY, UNARY
from tlkit.formats.onnx_layers import REDUCTIONS
from tlkit.formats.onnx_operations import OPERATIONS

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

CARD = {"classes": ["a", "b"], "input": {"size": [1, 1]}, "tlkit": "0"}
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)  # fused activations
CATALOGUE = (
    *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "GELU"),
    *("HARD_SWISH", "LOGISTIC", "MAX_POOL_2D", "MEAN", "MUL", "NEG", "PAD", "RELU", "RESHAPE", "REVERSE_V2", "RSQRT"),
    *("SOFTMAX", "SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB"),
)
"""Operations in the networks of the catalogue; the others in them only compute the targets of reshapes."""

sides = st.integers(1, 9)
activations = st.sampled_from([NONE, RELU, RELU_N1_TO_1, RELU6])


def normal(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Net(Graph):
    """A network to which any operation can be added. Its maps have values around -2 to 2."""

    def __init__(self, height: int, width: int, channels: int = 3, *, convolved: bool = True) -> None:
        super().__init__()
        self.x = self.rescale(self.image(height, width), 1 / 64, -2.0)
        if convolved:  # its maps have the channels first in ONNX
            self.x = self.conv(self.x, normal((1, 1, 3, channels), 7) / 2, normal((channels,), 8) / 2, relu6=False)

    def op(self, kind: str, inputs: list[Any], shape: tuple[int, ...], options: str = "", **values: Any) -> int:
        """Add an operation; inputs that are not tensors of the network are constants."""
        given = getattr(self.schema, f"{options or 'Add'}OptionsT")()
        for name, value in values.items():
            assert hasattr(given, name)
            setattr(given, name, value)
        tensors = [each if isinstance(each, int) else self._constant(each) for each in inputs]
        found = self._operation(getattr(self.schema.BuiltinOperator, kind), tensors, shape, given)
        if not options:
            self.graph.operators[-1].builtinOptions, self.graph.operators[-1].builtinOptionsType = None, 0
        return found


def ints(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def same(net: Net, output: int, count: int = 3, tolerance: float = 1e-4) -> None:
    """Check that ONNX and LiteRT find the same, for several images at once."""
    data, (height, width, _) = net.finish(output), net._shape(net.graph.inputs[0])
    pixels = np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    (wanted,) = lite_maps(data)(pixels)
    model = onnx_model(read_lite_file(data), CARD)
    onnx.checker.check_model(model, full_check=True)
    (found,) = onnx_session(model.SerializeToString()).run(None, {"image": pixels.astype(np.float32)})
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def output_side(side: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    reach = (kernel - 1) * dilation + 1
    return -(-side // stride) if padding == 0 else (side - reach) // stride + 1


def test_the_operations_of_the_catalogue_are_there() -> None:
    assert set(CATALOGUE) <= set(OPERATIONS)


@pytest.mark.parametrize("convolved", [False, True])
@pytest.mark.parametrize("kind", sorted(UNARY))
def test_operations_on_one_tensor(kind: str, convolved: bool) -> None:
    options = {"ABS": "Abs", "EXP": "Exp", "NEG": "Neg", "SQUARE": "Square", "HARD_SWISH": "HardSwish"}
    options |= {"GELU": "Gelu", "LEAKY_RELU": "LeakyRelu"}
    values = {"LEAKY_RELU": {"alpha": 0.25}}.get(kind, {})
    net = Net(4, 5, convolved=convolved)
    x, shape = net.x, net._shape(net.x)
    if kind in ("LOG", "SQRT", "RSQRT"):
        x = net.op("ADD", [net.op("ABS", [x], shape, "Abs"), np.float32(0.1)], shape, "Add")
    same(net, net.op(kind, [x], shape, options.get(kind, ""), **values))


def test_approximate_gelu() -> None:
    net = Net(4, 5)
    same(net, net.op("GELU", [net.x], (4, 5, 3), "Gelu", approximate=True))


def _binary_options(kind: str) -> str:
    own = {"ADD": "Add", "DIV": "Div", "MUL": "Mul", "SUB": "Sub", "SQUARED_DIFFERENCE": "SquaredDifference"}
    return own.get(kind, "" if kind == "PRELU" else "MaximumMinimum")


@pytest.mark.parametrize("kind", sorted(set(BINARY) - {"PRELU"}))
@pytest.mark.parametrize("other", ["map", "other layout", "channels", "number", "number first", "columns"])
def test_operations_on_two_tensors(kind: str, other: str) -> None:
    net = Net(4, 5, channels=3)
    shape, constant = (4, 5, 3), normal((3,), 1) + 4
    if other in ("map", "other layout"):
        layout = net.graph.inputs[0] if other == "other layout" else net.conv(net.x, normal((1, 1, 3, 3)), normal((3,)))
        inputs = [net.x, net.op("ADD", [layout, np.float32(3)], shape, "Add")]
    elif other == "columns":  # [n, c] and [c], nothing of it a map
        inputs, shape = [net.pool(net.x), constant], (3,)
    else:
        inputs = {"channels": [net.x, constant], "number": [net.x, np.float32(1.5)]}.get(other, [])
        inputs = inputs or [np.float32(1.5), net.op("ADD", [net.x, np.float32(9)], shape, "Add")]
    same(net, net.op(kind, inputs, shape, _binary_options(kind)))


@pytest.mark.parametrize("convolved", [False, True])
def test_prelu(convolved: bool) -> None:
    net = Net(4, 5, convolved=convolved)
    same(net, net.op("PRELU", [net.x, normal((1, 1, 3))], (4, 5, 3)))


@pytest.mark.parametrize("activation", [RELU, RELU_N1_TO_1, RELU6])
def test_activations_of_a_sum(activation: int) -> None:
    net = Net(4, 5)
    same(net, net.op("ADD", [net.x, normal((3,))], (4, 5, 3), "Add", fusedActivationFunction=activation))


@settings(max_examples=examples(0.5))
@given(
    size=st.tuples(sides, sides),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.sampled_from([1, 1, 2]),
    padding=st.sampled_from([0, 1]),
    groups=st.sampled_from([1, 1, 2]),
    channels=st.integers(1, 3),
    filters=st.integers(1, 3),
    activation=activations,
)
def test_convolutions(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: int,
    padding: int,
    groups: int,
    channels: int,
    filters: int,
    activation: int,
) -> None:
    shape = tuple(output_side(*each, dilation, padding) for each in zip(size, kernel, stride, strict=True))
    assume(min(shape) > 0)
    net = Net(*size, channels=channels * groups)
    filters *= groups
    inputs = [net.x, normal((filters, *kernel, channels)) / 3, normal((filters,), 1)]
    values = {"padding": padding, "strideH": stride[0], "strideW": stride[1], "fusedActivationFunction": activation}
    values |= {"dilationHFactor": dilation, "dilationWFactor": dilation}
    same(net, net.op("CONV_2D", inputs, (*shape, filters), "Conv2D", **values))


@settings(max_examples=examples(0.5))
@given(
    size=st.tuples(sides, sides),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.sampled_from([1, 2]),
    padding=st.sampled_from([0, 1]),
    channels=st.integers(1, 4),
    multiplier=st.sampled_from([1, 2, 3]),
    activation=activations,
)
def test_depthwise_convolutions(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: int,
    padding: int,
    channels: int,
    multiplier: int,
    activation: int,
) -> None:
    shape = tuple(output_side(*each, stride, 1, padding) for each in zip(size, kernel, strict=True))
    assume(min(shape) > 0)
    net, filters = Net(*size, channels=channels), channels * multiplier
    inputs = [net.x, normal((1, *kernel, filters)) / 3, normal((filters,), 1)]
    values = {"padding": padding, "strideH": stride, "strideW": stride, "fusedActivationFunction": activation}
    values |= {"depthMultiplier": multiplier, "dilationHFactor": 1, "dilationWFactor": 1}
    same(net, net.op("DEPTHWISE_CONV_2D", inputs, (*shape, filters), "DepthwiseConv2D", **values))


@settings(max_examples=examples(0.5))
@given(
    kind=st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]),
    size=st.tuples(sides, sides),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from([0, 1]),
    convolved=st.booleans(),
    activation=activations,
)
def test_pooling(
    kind: str,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: int,
    convolved: bool,
    activation: int,
) -> None:
    shape = tuple(output_side(*each, 1, padding) for each in zip(size, kernel, stride, strict=True))
    assume(min(shape) > 0)
    net = Net(*size, convolved=convolved)
    values = {"padding": padding, "strideH": stride[0], "strideW": stride[1], "fusedActivationFunction": activation}
    values |= {"filterHeight": kernel[0], "filterWidth": kernel[1]}
    same(net, net.op(kind, [net.x], (*shape, 3), "Pool2D", **values))


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("convolved", [False, True])
@pytest.mark.parametrize("kind", sorted(REDUCTIONS))
@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (-1,), (3, 1), (1, 2, 3)])
def test_reductions(kind: str, axes: tuple[int, ...], convolved: bool, keeps: bool) -> None:
    net, reduced = Net(4, 5, convolved=convolved), [axis % 4 for axis in axes]
    shape = tuple(1 if axis in reduced else side for axis, side in enumerate((1, 4, 5, 3)) if axis)
    if not keeps:
        shape = tuple(side for axis, side in enumerate((4, 5, 3), 1) if axis not in reduced)
    found = net.op(kind, [net.x, ints(*axes)], shape, "Reducer", keepDims=keeps)
    same(net, net.op("RESHAPE", [found, ints(-1, int(np.prod(shape, dtype=int)))], (int(np.prod(shape)),), "Reshape"))


@pytest.mark.parametrize("activation", [NONE, RELU])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("kind", ["vector", "kept", "flattened"])
def test_dense_layers(kind: str, biased: bool, activation: int) -> None:
    net = Net(2, 2)
    bias = [normal((4,), 1)] if biased else []
    values = {"fusedActivationFunction": activation, "keepNumDims": kind == "kept"}
    if kind == "flattened":  # [n, 2, 2, 3] to [n * 4, 4]: cannot be told apart from [n, 12] by its shape
        x, width = net.op("RESHAPE", [net.x, ints(-1, 1, 12)], (1, 12), "Reshape"), 12
    else:
        x, width = (net.pool(net.x) if kind == "vector" else net.x), 3
    shape = (2, 2, 4) if kind == "kept" else (4,)
    same(net, net.op("FULLY_CONNECTED", [x, normal((4, width)), *bias], shape, "FullyConnected", **values))


@settings(max_examples=examples(0.5))
@given(axis=st.sampled_from([1, 2, 3, -1]), layouts=st.lists(st.booleans(), min_size=2, max_size=3))
def test_concatenation(axis: int, layouts: list[bool]) -> None:
    net = Net(4, 5)
    last = net.op("NEG", [net.graph.inputs[0]], (4, 5, 3), "Neg")
    parts = [net.x if first else last for first in layouts]
    shape = [4, 5, 3]
    shape[axis % 4 - 1] *= len(parts)
    same(net, net.op("CONCATENATION", parts, tuple(shape), "Concatenation", axis=axis))


@settings(max_examples=examples(0.5))
@given(
    amounts=st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 3),
    filling=st.sampled_from([None, 0.0, -1.5]),
    convolved=st.booleans(),
)
def test_padding(amounts: tuple[tuple[int, int], ...], filling: float | None, convolved: bool) -> None:
    net = Net(4, 5, convolved=convolved)
    shape = tuple(side + sum(pair) for side, pair in zip((4, 5, 3), amounts, strict=True))
    table = np.array([(0, 0), *amounts], np.int32)
    more = [] if filling is None else [np.float32(filling)]
    kind = "PAD" if filling is None else "PADV2"
    same(net, net.op(kind, [net.x, table, *more], shape, "Pad" if filling is None else "PadV2"))


@st.composite
def strided(draw: st.DrawFn) -> tuple[tuple[slice | int, ...], bool]:
    """What is taken of the axes after the first, and whether it is a map with the channels first."""
    taken: list[slice | int] = []
    for side in (4, 5, 3):
        bound = st.one_of(st.none(), st.integers(-side, side))
        step = draw(st.sampled_from([1, 1, 2, -1]))
        part = slice(draw(bound), draw(bound), step)
        taken.append(draw(st.integers(-side, side - 1)) if draw(st.integers(0, 5)) == 0 else part)
    return tuple(taken), draw(st.booleans())


@settings(max_examples=examples(0.5))
@given(strided())
def test_strided_slices(case: tuple[tuple[slice | int, ...], bool]) -> None:
    taken, convolved = case
    shape = np.zeros((4, 5, 3))[taken].shape
    assume(all(shape))
    net = Net(4, 5, convolved=convolved)
    masks = {"beginMask": 1, "endMask": 1, "shrinkAxisMask": 0}
    begin, end, step = [0], [0], [1]
    for axis, each in enumerate(taken, 1):
        if isinstance(each, int):
            masks["shrinkAxisMask"] |= 1 << axis
            each = slice(each, each + 1, 1)
        masks["beginMask"] |= (each.start is None) << axis
        masks["endMask"] |= (each.stop is None) << axis
        begin.append(each.start or 0)
        end.append(each.stop or 0)
        step.append(each.step)
    found = net.op("STRIDED_SLICE", [net.x, ints(*begin), ints(*end), ints(*step)], shape, "StridedSlice", **masks)
    same(net, net.op("RESHAPE", [found, ints(-1, int(np.prod(shape)))], (int(np.prod(shape)),), "Reshape"))


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("convolved", [False, True])
def test_reversing(axis: int, convolved: bool) -> None:
    net = Net(4, 5, convolved=convolved)
    same(net, net.op("REVERSE_V2", [net.x, ints(axis)], (4, 5, 3), "ReverseV2"))


@pytest.mark.parametrize("order", [(0, 3, 1, 2), (0, 2, 1, 3)])
@pytest.mark.parametrize("convolved", [False, True])
def test_transposing(order: tuple[int, ...], convolved: bool) -> None:
    net = Net(4, 5, convolved=convolved)
    shape = tuple((4, 5, 3)[axis - 1] for axis in order[1:])
    same(net, net.op("TRANSPOSE", [net.x, ints(*order)], shape, "Transpose"))


@pytest.mark.parametrize("target", [(20, 3), (1, 60), (1, 1, 60), (5, 4, 3)])
def test_reshaping_maps(target: tuple[int, ...]) -> None:
    net = Net(4, 5)
    same(net, net.op("RESHAPE", [net.x, ints(-1, *target)], target, "Reshape"))


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_softmax(beta: float) -> None:
    net = Net(4, 5)
    same(net, net.op("SOFTMAX", [net.x], (4, 5, 3), "Softmax", beta=beta))


def gate(net: Net, shape: Callable[[int], int]) -> int:
    """Multiply a map by a number for each channel, which a reshape to a computed shape makes a map of."""
    pooled = net.pool(net.x)
    wide = net.op("RESHAPE", [pooled, shape(pooled)], (1, 1, 3), "Reshape")
    return net.op("MUL", [net.x, wide], (4, 5, 3), "Mul")


def integers(net: Net, kind: str, inputs: list[Any], shape: tuple[int, ...], options: str, **values: Any) -> int:
    found = net.op(kind, inputs, (), options, **values)
    tensor = net.graph.tensors[found]
    tensor.shape, tensor.shapeSignature, tensor.type = list(shape), None, net.schema.TensorType.INT32
    return found


def test_shapes_that_a_network_computes_from_those_of_maps_become_numbers() -> None:
    net = Net(4, 5)

    def squeeze_and_excite(pooled: int) -> int:
        """Pack the batch size and three constants, as in EfficientNet."""
        whole = integers(net, "SHAPE", [pooled], (2,), "Shape", outType=net.schema.TensorType.INT32)
        parts = [whole, ints(0), ints(1), ints(1)]
        batch = integers(net, "STRIDED_SLICE", parts, (), "StridedSlice", shrinkAxisMask=1)
        packed = [batch, np.int32(1), np.int32(1), np.int32(3)]
        packed = [each if isinstance(each, int) else net._constant(np.asarray(each)) for each in packed]
        return integers(net, "PACK", packed, (4,), "Pack", axis=0, valuesCount=4)

    same(net, gate(net, squeeze_and_excite))


def test_products_of_sides_become_numbers() -> None:
    """As in ConvNeXt: all pixels of a map become rows, and a map again."""
    net = Net(4, 5)
    whole = integers(net, "SHAPE", [net.x], (4,), "Shape", outType=net.schema.TensorType.INT32)
    rows = integers(net, "GATHER", [whole, ints(0, 1, 2)], (3,), "Gather", axis=0)
    count = integers(net, "REDUCE_PROD", [rows, ints(0)], (), "Reducer", keepDims=False)
    width = integers(net, "GATHER", [whole, ints(3)], (1,), "Gather", axis=0)
    width = integers(net, "REDUCE_PROD", [width, ints(0)], (), "Reducer", keepDims=False)
    target = integers(net, "PACK", [count, width], (2,), "Pack", axis=0, valuesCount=2)
    flat = net.op("RESHAPE", [net.x, target], (3,), "Reshape")
    flat = net.op("FULLY_CONNECTED", [flat, normal((2, 3)), normal((2,))], (2,), "FullyConnected")
    sides = integers(net, "GATHER", [whole, ints(0, 1, 2)], (3,), "Gather", axis=0)
    again = integers(net, "CONCATENATION", [sides, ints(2)], (4,), "Concatenation", axis=0)
    same(net, net.op("RESHAPE", [flat, again], (4, 5, 2), "Reshape"))


def refused(net: Net, output: int) -> str:
    with pytest.raises(TlkitError, match="cannot be converted") as caught:
        onnx_model(read_lite_file(net.finish(output)), CARD)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


def test_an_operation_without_equivalent_is_named() -> None:
    net = Net(4, 5)
    assert "its operation SIN is not supported" in refused(net, net.op("SIN", [net.x], (4, 5, 3)))


def test_computed_arguments_are_refused() -> None:
    net = Net(4, 5)
    kernel = net.op("NEG", [normal((3, 1, 1, 3))], (1, 1, 3), "Neg")
    values = {"padding": 0, "strideH": 1, "strideW": 1}
    output = net.op("CONV_2D", [net.x, kernel, normal((3,))], (4, 5, 3), "Conv2D", **values)
    assert "CONV_2D whose arguments are computed" in refused(net, output)


def test_an_operation_with_several_outputs_is_refused() -> None:
    net = Net(4, 5)
    output = net.op("SPLIT", [np.int32(3), net.x], (4, 5, 1), "Split", numSplits=3)
    net.graph.operators[-1].outputs = [output, net._tensor("b", (4, 5, 1)), net._tensor("c", (4, 5, 1))]
    assert "its operation SPLIT has 3 outputs" in refused(net, output)


def test_an_unknown_activation_is_refused() -> None:
    net = Net(4, 5)
    output = net.op("ADD", [net.x, net.x], (4, 5, 3), "Add", fusedActivationFunction=5)
    assert "activation 5 is not known" in refused(net, output)


@pytest.mark.parametrize("mask", ["ellipsisMask", "newAxisMask"])
def test_slices_that_change_the_number_of_axes_are_refused(mask: str) -> None:
    net = Net(4, 5)
    inputs = [net.x, *(ints(*[each] * 4) for each in (0, 1, 1))]
    assert "STRIDED_SLICE" in refused(net, net.op("STRIDED_SLICE", inputs, (4, 5, 3), "StridedSlice", **{mask: 2}))
