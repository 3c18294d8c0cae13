"""Every backbone is built as promised and computes what Keras's own network does, on either engine."""

import gc
import importlib

import numpy as np
import pytest

from tlkit.backbones import catalog
from tlkit.backbones.build import build_backbone, check_request
from tlkit.backbones.engines import AGREEMENT, LiteRTNetwork
from tlkit.backbones.extractor import columns_of, tap_model, tap_widths
from tlkit.backbones.layers import layers_of
from tlkit.backbones.litert import conversions
from tlkit.backbones.litert import heads as lite_heads
from tlkit.backbones.operations import count_operations
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.weights.loading import load_weights
from tlkit.bundle.load import load
from tlkit.bundle.manifest import Manifest
from tlkit.bundle.save import save_bundle
from tlkit.errors import TlkitError
from tlkit.linear.classifier import attach_head
from tlkit.linear.head import Head

# The smallest of each family and preprocessing, with the module that holds Keras's preprocess_input.
SMALLEST = {
    "vgg16": "vgg16",
    "resnet50": "resnet",
    "resnet50-v2": "resnet_v2",
    "inception-v3": "inception_v3",
    "xception": "xception",
    "densenet121": "densenet",
    "mobilenet": "mobilenet",
    "mobilenet-v2": "mobilenet_v2",
    "mobilenet-v3-small": "mobilenet_v3",
    "nasnet-mobile": "nasnet",
    "efficientnet-b0": "efficientnet",
    "efficientnet-v2-b0": "efficientnet_v2",
    "convnext-tiny": "convnext",
}
# Pixels that one cell of the output depends on, as Araujo, Norris & Sim (Distill 2019) tabulate them.
SEEN = {
    "vgg16": 212,
    "resnet50": 483,
    "resnet101": 1027,
    "resnet152": 1507,
    "inception-v3": 1311,
    "inception-resnet-v2": 3039,
    "mobilenet": 315,
}


@pytest.fixture
def keras():
    module = import_keras()
    gc.freeze()  # what is there stays: the collection afterwards need not look at it
    yield module
    module.backend.clear_session()
    gc.collect()


@pytest.fixture
def zero_weights(keras, monkeypatch):
    """Fill with zeros: drawing 350 million normal numbers for the largest network takes far longer than building."""

    def zeros(self, shape, dtype=None):
        return keras.ops.zeros(shape, dtype=dtype or "float32")

    for initializer in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
        monkeypatch.setattr(initializer, "__call__", zeros)


def avoidable(model, layer):
    """Tell from the saved configuration whether a path leads from input to output around a layer."""

    def sources(node):
        if isinstance(node, dict):
            if "keras_history" in node:
                return {node["keras_history"][0]}
            node = list(node.values())
        return set().union(*map(sources, node)) if isinstance(node, (list, tuple)) else set()

    config = model.get_config()
    reached = {"image"}
    for entry in config["layers"]:
        if entry["name"] != layer and sources(entry["inbound_nodes"]) & reached:
            reached.add(entry["name"])
    return model.operations[-1].name in reached


def quickly(names, quick):
    """Names as parameters, of which all but a few are for --thorough."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.thorough) for name in names]


# one of each family, the smallest: the others repeat its blocks or widen them
ROWS = sorted(map(catalog.get, catalog.names()), key=lambda row: row.params, reverse=True)
FAMILIES = {row.family: row.name for row in ROWS}


@pytest.mark.parametrize("name", quickly(catalog.names(), FAMILIES.values()))
def test_structure(keras, zero_weights, name):
    row = catalog.get(name)
    network = build_backbone(name, weights="none")
    model, stages = network.model, network.stages
    assert network.backbone is row
    assert model.count_params() == row.params
    assert model.input.name == "image"
    assert model.input.shape == (None, row.input_size, row.input_size, 3)
    assert model.input.dtype == "float32"
    assert len(model.output.shape) == 4
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    names = [operation.name for operation in model.operations]
    assert len(set(names)) == len(names)
    # No tensor inside NASNet is passed by all paths: each cell takes the outputs of the two before it.
    assert len(stages) == 2 if row.family == "nasnet" else len(stages) >= 4
    heights = [stage.height for stage in stages]
    assert heights == sorted(heights, reverse=True)
    assert [stage.index for stage in stages] == list(range(1, len(stages) + 1))
    assert stages[-1].layer == model.operations[-1].name
    for stage in stages:
        assert model.get_layer(stage.layer).output.shape == (None, stage.height, stage.width, stage.channels)
    if row.params < 30_000_000:
        # Larger networks repeat the same blocks; their configurations are slow to write out.
        assert not any(avoidable(model, stage.layer) for stage in stages)
        assert avoidable(model, "no such layer")
    assert count_operations(network)["top"] == row.operations
    check_layers(network)


def check_layers(network):
    """The table of layers says of every layer what was built, and sizes follow from the formula."""
    model, layers = network.model, layers_of(network)
    assert [layer.name for layer in layers] == [operation.name for operation in model.operations]
    assert sum(layer.params for layer in layers) == network.backbone.params
    assert sum(layer.operations for layer in layers) == network.backbone.operations
    for layer, operation in zip(layers, model.operations, strict=True):
        assert layer.by_formula is None or layer.by_formula == operation.output.shape[1:3], layer
        assert (layer.by_formula is not None) == any(part in layer.kind for part in ("Conv2D", "ing2D")) or (
            layer.kind.startswith("Global")
        )
    assert list(dict.fromkeys(layer.stage for layer in layers)) == [stage.name for stage in network.stages]
    sees = layers[-1].receptive_field
    assert sees[0] == sees[1] == SEEN.get(network.backbone.name, sees[0])


@pytest.mark.parametrize("name", quickly(SMALLEST, {"vgg16", "xception", "mobilenet-v3-small", "nasnet-mobile"}))
def test_the_smallest_input_is_accepted(keras, zero_weights, name):
    """All of a family halve the image alike: what its smallest network takes, the others take too."""
    row = catalog.get(name)
    stages = build_backbone(name, weights="none", input_size=row.min_size).stages
    assert min(stages[-1].height, stages[-1].width) >= 1


def disturb(model):
    """Give every weight its own value: default statistics and offsets would hide a swapped array."""
    generator = np.random.default_rng(7)

    def disturbed(value):
        if value.ndim < 2:
            return value * generator.uniform(0.8, 1.2, value.shape) + generator.uniform(0, 0.1, value.shape)
        # A depthwise kernel sums over its cells only, any other over its input channels as well.
        inputs = np.prod(value.shape[:2]) if value.shape[-1] == 1 else np.prod(value.shape[:-1])
        return generator.standard_normal(value.shape, "float32") * np.sqrt(2 / inputs)

    for layer in model.layers:
        layer.set_weights([disturbed(value).astype("float32") for value in layer.get_weights()])
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def random_head(pooled):
    """A head of three classes whose logits are neither all alike nor extreme on these features."""
    kernel = np.random.default_rng(5).standard_normal((pooled.shape[1], 3))
    kernel /= np.abs(pooled @ kernel).max()
    return Head(kernel.astype(np.float32), np.array([0.5, 0.0, -0.5], np.float32), 1.0, ())


def features_of(model, image):
    return np.asarray(model(image, training=False))


def test_every_family_has_an_example():
    families = {catalog.get(name).family for name in SMALLEST}
    assert families == {catalog.get(name).family for name in catalog.names()} - {"efficientnet-lite"}


# a few of different kinds; the others with --thorough
QUICK = {"mobilenet", "mobilenet-v3-small"}


@pytest.mark.parametrize("name", quickly(SMALLEST, QUICK))
def test_a_bundle_answers_as_keras_own_network_and_preprocessing(keras, zero_weights, monkeypatch, tmp_path, name):
    row = catalog.get(name)
    size = max(row.min_size, 64)
    function = getattr(keras.applications, row.keras_name)
    published = function(weights=None, include_top=False, input_shape=(size, size, 3))
    disturb(published)
    published.save(tmp_path / "published.h5")
    # The reference is the network as Keras builds it for its ImageNet weights, filled by Keras itself.
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *args, **kwargs: str(tmp_path / "published.h5"))
    reference = function(weights="imagenet", include_top=False, input_shape=(size, size, 3))
    image = np.random.default_rng(3).integers(0, 256, (2, size, size, 3)).astype("float32")
    module = importlib.import_module(f"keras.applications.{SMALLEST[name]}")
    expected = features_of(reference, module.preprocess_input(image.copy()))
    assert np.isfinite(expected).all()
    assert np.std(expected) > 1e-4

    published.save(tmp_path / "published.keras")
    published.save_weights(tmp_path / "published.weights.h5")
    network = build_backbone(name, weights="none", input_size=size)
    tolerance = {"rtol": 1e-3, "atol": 1e-4 * np.abs(expected).max()}
    for file in ("published.h5", "published.keras", "published.weights.h5"):
        for variable in network.model.weights:
            variable.assign(np.zeros(variable.shape))
        load_weights(network.model, row, tmp_path / file)
        np.testing.assert_allclose(features_of(network.model, image), expected, **tolerance, err_msg=file)

    pooled = expected.mean(axis=(1, 2))
    head = random_head(pooled)
    bundle = save_bundle(
        tmp_path / "m.tlkit",
        write=lambda place: _saved(attach_head(network, head), place, size),
        plan={},
        history=[],
    )
    answers = load(bundle).probabilities(image.astype(np.uint8))
    assert np.ptp(answers) > 0.05
    np.testing.assert_allclose(answers, head.probabilities(pooled), atol=1e-3)

    graph = conversions.convert(tap_model(network))
    taps = tap_widths(network)
    lite = LiteRTNetwork(lite_heads.attach_head(graph, [len(taps) - 1], head.kernel, head.bias))
    assert np.abs(lite(image.astype(np.uint8)) - answers).max() <= AGREEMENT
    ours, theirs = LiteRTNetwork(graph)(image.astype(np.uint8)), features_of(tap_model(network), image)
    for tap, _ in taps:
        columns = columns_of(taps, [tap])
        scale = np.abs(theirs[:, columns]).max()
        np.testing.assert_allclose(ours[:, columns], theirs[:, columns], rtol=0, atol=1e-3 * scale, err_msg=tap)


def _saved(model, place, size):
    """What a bundle says of a network, once it is written."""
    model.save(place / "model.keras")
    return Manifest("3", "", None, "none", "", "freeze", None, (size, size), 1, ("a", "b", "c"), {}, {}, {})


def test_a_saved_backbone_is_a_weights_file(keras, tmp_path):
    first = build_backbone("convnext-tiny", weights="none", input_size=32, seed=1)
    first.model.save(tmp_path / "flat.keras")
    second = build_backbone("convnext-tiny", weights=tmp_path / "flat.keras", input_size=64)
    for one, other in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_packaged_backbone_needs_nothing_else(keras, monkeypatch):
    monkeypatch.setattr(keras.utils, "get_file", lambda *args, **kwargs: pytest.fail("tried to download"))
    network = build_backbone("efficientnet-lite0", input_size=64)
    image = np.random.default_rng(3).integers(0, 256, (1, 64, 64, 3)).astype("float32")
    features = network.model.predict(image, verbose=0)
    assert features.shape == (1, 2, 2, 1280)
    assert 0 < features.mean() < 6
    assert len(network.weights_hash) == 64


def test_random_weights_are_repeatable(keras):
    def weights(seed):
        network = build_backbone("mobilenet-v3-small", weights="none", input_size=32, seed=seed)
        return network.weights_hash, np.concatenate([value.ravel() for value in network.model.get_weights()])

    (name, first), (_, again), (other_name, other) = weights(5), weights(5), weights(6)
    assert (name, other_name) == ("none-5", "none-6")
    np.testing.assert_array_equal(first, again)
    assert np.mean(first != other) > 0.5


def test_default_size_is_the_catalogues(keras):
    assert build_backbone("MobileNetV2", weights="none").model.input.shape == (None, 224, 224, 3)


def test_too_small_an_input_is_refused(keras):
    with pytest.raises(TlkitError, match="74x74 pixels is too small for inception-v3") as caught:
        build_backbone("inception-v3", weights="none", input_size=74)
    assert "75x75" in caught.value.hint


def test_too_large_an_input_is_refused_as_a_bundle_of_it_would_not_load():
    with pytest.raises(TlkitError, match="5000x5000 pixels is too large") as caught:
        check_request("vgg16", "none", 5000)
    assert "4096x4096" in caught.value.hint
