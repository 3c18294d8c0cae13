"""What is trained of real networks, at which rates, and that running it folded or from a boundary changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tlkit.backbones import catalog
from tlkit.backbones.build import build_backbone
from tlkit.backbones.network import Network
from tlkit.backbones.operations import count_operations
from tlkit.backbones.runtime import import_keras
from tlkit.finetune.trainable import Trainable, default_boundary, make_trainable
from tlkit.linear.head import Head

# BatchNorm behind the convolution, before it, without gamma, none at all; depthwise, separable, squeeze-and-excitation
NAMES = [
    "efficientnet-lite0",
    "mobilenet-v3-small",
    "resnet50-v2",
    "inception-v3",
    "convnext-tiny",
    pytest.param("xception", marks=pytest.mark.thorough),
    pytest.param("vgg16", marks=pytest.mark.thorough),
]


@pytest.fixture(scope="module", params=NAMES)
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """With statistics and norms that are not the trivial ones random weights start with."""
    row = catalog.get(request.param)
    made = build_backbone(row.name, weights="none", input_size=max(row.min_size, 32))
    rng = np.random.default_rng(0)
    for layer in made.model.layers:
        if isinstance(layer, import_keras().layers.BatchNormalization):
            layer.set_weights([np.abs(1 + 0.2 * rng.standard_normal(each.shape)) for each in layer.get_weights()])
    yield made
    import_keras().backend.clear_session()


def make(network: Network, boundary: str | None, split: bool, batch_norm: str = "frozen") -> Trainable:
    width = network.model.output.shape[-1]
    head = Head(np.ones((width, 3), np.float32) / width, np.zeros(3, np.float32), 1.0, ())
    return make_trainable(
        network, head, ("top",), boundary=boundary, split=split, layer_decay=0.5, batch_norm=batch_norm
    )


def logits(model: Any, values: np.ndarray) -> np.ndarray:
    return np.asarray(model(values, training=False))


def test_everything_is_trained_at_rates_that_fall_towards_the_input(network: Network) -> None:
    whole = make(network, None, False)
    assert {id(each) for each in whole.variables} == {id(each) for each in whole.model.trainable_variables}
    assert len(whole.variables) == len(whole.model.trainable_variables)
    rates = [group.rate for group in whole.groups]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1.0
    assert [variable.path.split("/")[0] for variable in whole.groups[0].decayed] == ["logits"]
    assert rates[-1] <= 0.5 ** min(2, len(network.stages) - 1)
    assert all(len(each.shape) > 1 for group in whole.groups for each in group.decayed)
    assert all(len(each.shape) <= 1 for group in whole.groups for each in group.plain)


def test_above_the_boundary_only_and_from_its_output_the_same(network: Network) -> None:
    operations = count_operations(network)
    boundary = default_boundary(network.stages, operations)
    stage = next(each for each in network.stages if each.name == boundary)
    assert list(operations.values()) == sorted(operations.values())
    assert 0 < operations[boundary] < operations["top"]
    part = make(network, boundary, True)
    assert part.split
    below = import_keras().Model(network.model.input, network.model.get_layer(stage.layer).output)
    frozen = {id(each) for each in below.trainable_variables}
    assert not frozen & {id(each) for each in part.variables}
    assert frozen | {id(each) for each in part.variables} == {id(each) for each in part.model.trainable_variables}
    size = network.model.input.shape[1]
    pixels = np.random.default_rng(1).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    expected = logits(make(network, boundary, False, "moving").part, pixels)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(logits(part.part, np.asarray(below(pixels))), expected, atol=1e-3 * largest, rtol=1e-3)
    folded = logits(make(network, boundary, False).part, pixels)
    np.testing.assert_allclose(folded, expected, atol=1e-3 * largest, rtol=1e-3)


def test_a_head_on_an_early_stage_drops_the_rest() -> None:
    network = build_backbone("efficientnet-lite0", weights="none", input_size=32)
    head = Head(np.zeros((40, 2), np.float32), np.zeros(2, np.float32), 1.0, ())
    early = make_trainable(network, head, ("stage3",), boundary=None, split=False, layer_decay=0.5, batch_norm="frozen")
    assert [group.rate for group in early.groups] == [1.0, 0.5, 0.25, 0.125]
    assert not any(layer.name.startswith(("block4", "top")) for layer in early.model.layers)
