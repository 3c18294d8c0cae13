"""Biases that make good for rounded weights, against the same network computed twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tlkit.backbones.engines import LiteRTNetwork
from tlkit.backbones.litert.graph import Graph
from tlkit.formats.bias_correction import rounded, with_corrected_biases

Array = NDArray[np.float32]


def normal(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pixels(count: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def network(
    height: int, width: int, side: int, stride: int, seed: int, *, depthwise: bool = False, coarse: bool = False
) -> bytes:
    """A convolution without activation, so that means pass through, and its mean over the image."""
    graph = Graph()
    image, bias = graph.image(height, width), normal((3,), seed + 1)
    if depthwise:
        kernel = normal((side, side, 3, 1), seed) / 100
        kernel = rounded(kernel, axis=2) if coarse else kernel
        return graph.finish(graph.pool(graph.depthwise(image, kernel, bias, stride=stride, relu6=False)))
    kernel = normal((side, side, 3, 3), seed) / 100
    kernel = rounded(kernel, axis=3) if coarse else kernel
    return graph.finish(graph.pool(graph.conv(image, kernel, bias, stride=stride, relu6=False)))


def with_weights_of(weights: bytes, biases: bytes) -> bytes:
    """The network of one file with the bias of another."""
    found, other = Graph(weights), Graph(biases)
    (mine, *_), (its, *_) = found.graph.operators, other.graph.operators
    place = found.graph.tensors[mine.inputs[2]].buffer
    found.model.buffers[place].data = other.model.buffers[other.graph.tensors[its.inputs[2]].buffer].data
    return found.finish(*found.graph.outputs)


@given(
    height=st.integers(3, 9),
    width=st.integers(3, 9),
    side=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    seed=st.integers(0, 1000),
    depthwise=st.booleans(),
)
def test_the_mean_output_is_what_it_was_before_rounding(
    height: int, width: int, side: int, stride: int, seed: int, depthwise: bool
) -> None:
    images = pixels(3, height, width)
    before = network(height, width, side, stride, seed, depthwise=depthwise)
    coarse = network(height, width, side, stride, seed, depthwise=depthwise, coarse=True)
    corrected = with_weights_of(coarse, with_corrected_biases(before, images))
    found, wanted = (LiteRTNetwork(each)(images).mean(0) for each in (corrected, before))
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_what_is_kept_in_float32_is_not_corrected() -> None:
    data = network(5, 5, 3, 1, 0)
    graph = Graph(data)
    names = [graph.graph.tensors[each.outputs[0]].name.decode() for each in graph.graph.operators]
    untouched = with_corrected_biases(data, pixels(2, 5, 5), kept=names)
    np.testing.assert_array_equal(LiteRTNetwork(untouched)(pixels(2, 5, 5)), LiteRTNetwork(data)(pixels(2, 5, 5)))
    assert not np.array_equal(
        LiteRTNetwork(with_corrected_biases(data, pixels(2, 5, 5)))(pixels(2, 5, 5)),
        LiteRTNetwork(data)(pixels(2, 5, 5)),
    )


@pytest.mark.parametrize("axis", [0, 3])
def test_rounded_weights_have_a_scale_for_each_channel(axis: int) -> None:
    weights = normal((4, 3, 3, 4), 0)
    weights[0], weights[..., 0] = 0, 0  # a channel without weights
    found = np.moveaxis(rounded(weights, axis), axis, 0)
    for mine, its in zip(found, np.moveaxis(weights, axis, 0), strict=True):
        step = np.abs(its).max() / 127
        assert np.abs(mine - its).max() <= step / 2 + 1e-7
        assert len(np.unique(mine)) <= 255
