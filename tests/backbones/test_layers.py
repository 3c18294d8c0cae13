"""What the table of layers says of networks small enough to work out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.backbones import catalog
from tlkit.backbones.layers import Layer, layers_of, size_by_formula
from tlkit.backbones.network import Network
from tlkit.backbones.operations import count_operations, model_operations
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.stages import find_stages


def network_of(image: Any, output: Any) -> Network:
    model = import_keras().Model(image, output)
    return Network(catalog.get("vgg16"), model, find_stages(model), "none-0")


def rows(network: Network) -> dict[str, Layer]:
    return {layer.name: layer for layer in layers_of(network)}


@given(st.integers(1, 300), st.integers(1, 11), st.integers(1, 5), st.integers(0, 10))
def test_the_formula_counts_the_places_of_a_window(n: int, kernel: int, stride: int, padding: int) -> None:
    if n + padding >= kernel:
        places = len(range(0, n + padding - kernel + 1, stride))
        assert size_by_formula(n, kernel, stride, padding) == places


@pytest.fixture(scope="module")
def network() -> Network:
    """Every kind that has a size of its own, and a gate."""
    keras = import_keras()
    layers = keras.layers
    image = keras.Input((33, 40, 3), name="image")
    x = layers.ZeroPadding2D(((0, 1), (2, 3)), name="pad")(image)
    x = layers.Conv2D(4, 3, strides=2, name="valid")(x)
    x = layers.Conv2D(6, (1, 5), padding="same", use_bias=False, name="flat")(x)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", name="dilated")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = layers.Conv2D(6, 1, activation="sigmoid", name="gate")(gate)
    x = layers.Multiply(name="gated")([x, gate])
    x = layers.Cropping2D(((1, 0), (0, 2)), name="crop")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Dense(7, name="dense")(x)
    x = layers.SeparableConv2D(8, 3, padding="same", strides=2, name="separable")(x)
    return network_of(image, x)


def test_sizes_padding_and_cost(network: Network) -> None:
    found = rows(network)
    assert {name: row.by_formula for name, row in found.items() if row.by_formula} == {
        name: row.shape[:2] for name, row in found.items() if name not in ("image", "squeeze", "gated", "dense")
    }
    assert found["pad"].padding == ((0, 1), (2, 3))
    assert found["crop"].padding == ((-1, 0), (0, -2))
    assert found["flat"].padding == ((0, 0), (2, 2))
    assert found["dilated"].padding == ((2, 2), (2, 2))
    assert found["valid"].padding is None
    assert (found["valid"].kernel, found["valid"].stride, found["valid"].shape) == ((3, 3), (2, 2), (16, 22, 4))
    assert found["pad"].kernel is None
    assert found["valid"].operations == 3 * 3 * 3 * 4 * 16 * 22
    assert found["flat"].params == 5 * 4 * 6
    assert found["dilated"].operations == 3 * 3 * 6 * 16 * 22
    assert found["dense"].operations == 6 * 7 * 7 * 10  # at every place of the map
    assert found["separable"].operations == (3 * 3 * 7 + 7 * 8) * 4 * 5
    assert found["gated"].operations == 0


def test_what_a_cell_sees(network: Network) -> None:
    found = rows(network)
    assert found["image"].receptive_field == (1, 1)
    assert found["valid"].receptive_field == (3, 3)
    assert found["flat"].receptive_field == (3, 11)
    assert found["dilated"].receptive_field == (11, 19)
    assert found["squeeze"].receptive_field is None  # the whole image
    assert found["gate"].receptive_field is None
    assert found["gated"].receptive_field == (11, 19)  # gates aside
    assert found["pool"].receptive_field == (13, 21)
    assert found["separable"].receptive_field == (13 + 2 * 4, 21 + 2 * 4)


def test_operations_add_up(network: Network) -> None:
    total = sum(layer.operations for layer in layers_of(network))
    counts = count_operations(network)
    assert counts["top"] == total == model_operations(network.model)
    assert list(counts.values()) == sorted(counts.values())


def test_a_model_inside_a_model_counts_too() -> None:
    keras = import_keras()
    image = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.layers.Conv2D(4, 1), keras.layers.Conv2D(2, 1)])
    assert model_operations(keras.Model(image, inner(image))) == (3 * 4 + 4 * 2) * 64
