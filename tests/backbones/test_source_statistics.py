"""What the packaged network knows of ImageNet: its classifier, its moments, the names of its classes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from conftest import image

from tlkit.backbones.efficientnet_lite import block_names, efficientnet_lite, load_packaged_weights, packaged_weights
from tlkit.backbones.extractor import TOP, open_extractor
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.source_statistics import Source, class_names, packaged_source
from tlkit.errors import TlkitError

SIZE = 64
DRAWS = 40_000


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Smooth images, on which the network is surer than on noise, and noise."""
    smooth = [np.asarray(image(seed, (SIZE, SIZE))) for seed in range(4)]
    noise = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    return np.concatenate([np.stack(smooth), noise])


@pytest.fixture(scope="module")
def model():
    """The Keras network with its classifier, filled by Keras's own loading."""
    keras = import_keras()
    image = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(image, efficientnet_lite(image, include_top=True))
    load_packaged_weights(model)
    yield model
    keras.backend.clear_session()


@pytest.fixture(scope="module")
def softmax(model, pixels) -> np.ndarray:
    keras = import_keras()
    found = np.asarray(keras.ops.softmax(model(pixels.astype("float32"), training=False)))
    assert found.max() > 0.05  # else all classifiers would agree
    return found


def test_probabilities_are_those_of_the_keras_network(model, pixels, softmax):
    keras = import_keras()
    pooled = keras.Model(model.input, model.get_layer("top_pool").output)
    features = np.asarray(pooled(pixels.astype("float32"), training=False))
    found = packaged_source().probabilities(features)
    assert found.shape == (len(pixels), 1000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax, atol=1e-4)


def test_probabilities_of_the_extractors_own_features(pixels, softmax):
    extractor = open_extractor("efficientnet-lite0", input_size=SIZE)
    top = extractor.forward()(pixels)[:, -dict(extractor.taps)[TOP] :]
    np.testing.assert_allclose(packaged_source().probabilities(top), softmax, atol=1e-4)


def test_golden_logits():
    """The figures of test_efficientnet_lite, without TensorFlow: softmax keeps logits but for a constant."""
    i, j, c = np.ogrid[:224, :224, :3]
    pattern = ((3 * i + 5 * j + 40 * c) % 256).astype(np.uint8)[None]
    extractor = open_extractor("efficientnet-lite0")
    source = packaged_source()
    top = extractor.forward()(pattern)[:, -len(source.kernel) :]
    logs = np.log(source.probabilities(top)[0])
    best = np.argsort(-logs)[:5]
    assert best.tolist() == [753, 807, 905, 619, 699]
    np.testing.assert_allclose(
        logs[best] - logs[753], np.array([6.1980, 5.6572, 5.2144, 4.5748, 4.1404]) - 6.1980, atol=2e-3
    )
    np.testing.assert_allclose(
        logs[:5] - logs[753], np.array([0.9193, 0.7625, 0.3238, -0.0801, -0.8116]) - 6.1980, atol=2e-3
    )


def test_large_features_do_not_overflow():
    source = packaged_source()
    top = np.full((2, len(source.kernel)), 1e4, np.float32)
    with np.errstate(over="raise", invalid="raise"):
        found = source.probabilities(top)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)


def test_every_tap_has_moments_of_its_width():
    source = packaged_source()
    for name, width in open_extractor("efficientnet-lite0").taps:
        mean, deviation = source.moments[name]
        assert mean.shape == deviation.shape == (width,)
        assert np.isfinite(mean).all()
        assert (deviation > 0).all()


@pytest.mark.parametrize(
    ("stage", "blocks"),
    [
        ("stage1", ["block1_1"]),
        ("stage2", ["block2_1", "block2_2"]),
        ("stage6", ["block6_1", "block6_2", "block6_3", "block6_4"]),
    ],
)
def test_a_stages_moments_are_those_of_its_blocks_added_up(model, stage, blocks):
    """BatchNorm's outputs are drawn for every block and added, as the shortcuts do."""
    rng = np.random.default_rng(0)
    assert block_names("lite0")[stage] == blocks
    total = 0.0
    for block in blocks:
        norm = model.get_layer(f"{block}_project_bn")
        gamma, beta = np.asarray(norm.gamma), np.asarray(norm.beta)
        total = total + beta + gamma * rng.normal(size=(DRAWS, len(beta)))
    mean, deviation = packaged_source().moments[stage]
    np.testing.assert_allclose((mean - total.mean(0)) / deviation, 0, atol=0.03)
    np.testing.assert_allclose(deviation, total.std(0), rtol=0.03)


def test_the_tops_moments_are_those_after_relu6(model):
    norm = model.get_layer("top_bn")
    gamma, beta = np.asarray(norm.gamma)[:200], np.asarray(norm.beta)[:200]
    values = np.clip(beta + gamma * np.random.default_rng(0).normal(size=(DRAWS, 200)), 0, 6)
    mean, deviation = (each[:200] for each in packaged_source().moments[TOP])
    assert values.max() == 6
    np.testing.assert_allclose((mean - values.mean(0)) / values.std(0), 0, atol=0.03)
    np.testing.assert_allclose(deviation, values.std(0), rtol=0.05)


def test_blocks_are_in_the_order_of_the_network():
    names = block_names("lite0")
    assert list(names) == [f"stage{number}" for number in range(1, 8)]
    assert [len(blocks) for blocks in names.values()] == [1, 2, 2, 3, 3, 4, 1]
    weights, _ = packaged_weights("lite0")
    assert all(f"{block}_project_bn" in weights for blocks in names.values() for block in blocks)


def test_packaged_weights_are_keras_own(model):
    weights, digest = packaged_weights("lite0")
    assert digest == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    filled = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    assert set(weights) == set(filled)
    for name, arrays in weights.items():
        assert all(np.array_equal(one, other) for one, other in zip(arrays, filled[name], strict=True)), name


def test_the_source_is_read_once():
    source = packaged_source()
    assert isinstance(source, Source)
    assert packaged_source() is source
    assert source.kernel.dtype == source.bias.dtype == np.float32
    assert source.kernel.shape == (1280, 1000)
    assert source.bias.shape == (1000,)


def test_an_unknown_variant_is_refused():
    with pytest.raises(TlkitError, match="lite9"):
        packaged_source("lite9")


def test_class_names():
    names = class_names()
    assert len(names) == 1000
    assert {name for name, count in Counter(names).items() if count > 1} <= {"missile", "sunglasses"}  # two each
    assert all(name and name == name.strip() and "_" not in name for name in names)
    known = {0: "tench", 309: "bee", 849: "teapot", 948: "Granny Smith", 985: "daisy", 999: "toilet paper"}
    for index, name in known.items():
        assert names[index].startswith(name), index
    assert class_names() is names


def test_names_and_classifier_are_in_one_order(garden):
    """A photograph of a Granny Smith is called one, at the network's own size."""
    from PIL import Image

    with Image.open(garden / "fruit" / "apple_granny_smith.png") as file:
        pixels = np.asarray(file.convert("RGB").resize((224, 224)))[None]
    extractor = open_extractor("efficientnet-lite0")
    source = packaged_source()
    (shares,) = source.probabilities(extractor.forward()(pixels)[:, -len(source.kernel) :])
    assert class_names()[int(shares.argmax())] == "Granny Smith apple"
