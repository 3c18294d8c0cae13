"""Networks written in LiteRT's format, against plain NumPy and against Keras."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tlkit.backbones.engines import LiteRTNetwork, lite_maps
from tlkit.backbones.litert.graph import Graph
from tlkit.backbones.litert.heads import attach_head, head_maps
from tlkit.errors import TlkitError

Array = NDArray[np.float32]


def normal(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pixels(count: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def two_taps(height: int = 9, width: int = 7, channels: int = 5) -> tuple[bytes, Array, Array]:
    """A network with a tap on its input (3 columns) and one behind a 1x1 convolution."""
    kernel, bias = normal((1, 1, 3, channels), 1), normal((channels,), 2)
    graph = Graph()
    image = graph.image(height, width)
    x = graph.conv(graph.rescale(image, 1 / 64, -2.0), kernel, bias)
    return graph.finish(graph.concatenate([graph.pool(image), graph.pool(x)])), kernel, bias


def expected(images: NDArray[np.uint8], kernel: Array, bias: Array) -> Array:
    x = images.astype(np.float32)
    deep = np.clip((x / 64 - 2.0) @ kernel[0, 0] + bias, 0, 6)
    return np.concatenate([x.mean((1, 2)), deep.mean((1, 2))], axis=1)


def test_a_network_computes_what_it_says() -> None:
    data, kernel, bias = two_taps()
    images = pixels(5, 9, 7)
    np.testing.assert_allclose(LiteRTNetwork(data)(images), expected(images, kernel, bias), rtol=1e-4, atol=1e-4)


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    depthwise=st.booleans(),
)
def test_convolutions_agree_with_keras(height: int, width: int, kernel: int, stride: int, depthwise: bool) -> None:
    from tlkit.backbones.runtime import import_keras

    ops = import_keras().ops
    filters = 3 if depthwise else 4
    weights = normal((kernel, kernel, 3, 1 if depthwise else filters))
    bias = normal((filters,), 1)
    graph = Graph()
    x = graph.image(height, width)
    x = (graph.depthwise if depthwise else graph.conv)(x, weights, bias, stride=stride, relu6=False)
    images = pixels(2, height, width)
    theirs = (ops.depthwise_conv if depthwise else ops.conv)(
        images.astype(np.float32), weights, strides=stride, padding="same"
    )
    pooled = np.asarray(theirs).mean((1, 2)) + bias
    np.testing.assert_allclose(LiteRTNetwork(graph.finish(graph.pool(x)))(images), pooled, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(("taps", "columns"), [([0], slice(0, 3)), ([1], slice(3, 8)), ([0, 1], slice(0, 8))])
def test_a_head_is_attached_to_the_taps_it_names(taps: list[int], columns: slice) -> None:
    data, kernel, bias = two_taps()
    images = pixels(4, 9, 7)
    features = expected(images, kernel, bias)[:, columns] / 100
    head, offset = normal((features.shape[1], 4), 3), normal((4,), 4)
    answer = LiteRTNetwork(attach_head(data, taps, head / 100, offset))(images)
    powers = np.exp(features @ head + offset)
    np.testing.assert_allclose(answer, powers / powers.sum(1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(answer.sum(1), 1, atol=1e-5)


def test_what_the_head_does_not_need_is_left_out() -> None:
    wide = two_taps(channels=4000)[0]
    assert len(attach_head(wide, [0], normal((3, 2)), normal((2,)))) < len(wide) - 4000 * 3 * 4


def test_constants_lie_where_the_format_wants_them() -> None:
    """A reader may map the file and read aligned floats from it."""
    from ai_edge_litert import schema_py_generated as schema

    data = two_taps(channels=7)[0]
    model = schema.Model.GetRootAs(data, 0)
    filled = 0
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            vector = buffer._tab.Vector(buffer._tab.Offset(4))
            assert vector % 16 == 0
            filled += 1
    assert filled >= 4


def test_features_are_a_second_output() -> None:
    data, kernel, bias = two_taps()
    images = pixels(3, 9, 7)
    features = expected(images, kernel, bias)
    head, offset = normal((5, 4), 3) / 100, normal((4,), 4)
    both = LiteRTNetwork(attach_head(data, [1], head, offset, shown=[0, 1]))(images)
    alone = LiteRTNetwork(attach_head(data, [1], head, offset))(images)
    np.testing.assert_array_equal(both[:, :4], alone)
    np.testing.assert_allclose(both[:, 4:], features, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("taps", [[1], [0, 1]])
def test_what_a_head_looks_at_can_be_cut_out_again(taps: list[int]) -> None:
    data, _, _ = two_taps()
    images = pixels(2, 9, 7)
    width = sum((3, 5)[tap] for tap in taps)
    head, offset = normal((width, 4), 3) / 100, normal((4,), 4)
    found = head_maps(attach_head(data, taps, head, offset, shown=[0]))
    assert found is not None
    maps = lite_maps(found[0])(images)
    np.testing.assert_array_equal(found[1], head)
    assert [each.shape for each in maps] == [(2, 9, 7, (3, 5)[tap]) for tap in taps]
    logits = np.concatenate([each.mean(axis=(1, 2)) for each in maps], axis=1) @ found[1] + offset
    answers = LiteRTNetwork(attach_head(data, taps, head, offset))(images)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), answers, atol=1e-5)


def test_a_network_without_a_head_has_no_maps_of_one() -> None:
    assert head_maps(two_taps()[0]) is None


def test_a_network_with_several_inputs_is_none_of_ours() -> None:
    from ai_edge_litert import schema_py_generated as schema
    import flatbuffers  # isort: skip

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(two_taps()[0], 0))
    model.subgraphs[0].inputs = [0, 1]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(TlkitError, match="several"):
        Graph(bytes(builder.Output()))


def test_quantised_networks_are_refused() -> None:
    """A quantiser keeps values in ways that would be lost when the file is written again."""

    def changed(change: Callable[[Graph], None]) -> bytes:
        import flatbuffers

        graph, builder = Graph(two_taps()[0]), flatbuffers.Builder(1024)
        change(graph)
        builder.Finish(graph.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def scaled(graph: Graph) -> None:
        graph.graph.tensors[2].quantization = graph.schema.QuantizationParametersT()
        graph.graph.tensors[2].quantization.scale = [0.5]

    def eight_bits(graph: Graph) -> None:
        graph.graph.tensors[2].type = graph.schema.TensorType.INT8

    def half(graph: Graph) -> None:
        graph.graph.tensors[2].type = graph.schema.TensorType.FLOAT16

    def outside(graph: Graph) -> None:
        graph.model.buffers[1].offset = graph.model.buffers[1].size = 64

    Graph(changed(lambda graph: None))
    for change in (scaled, eight_bits, half, outside):
        with pytest.raises(TlkitError, match="not a float32 network") as caught:
            Graph(changed(change))
        assert caught.value.hint == "start from the model.tflite of the bundle"
