"""A ``.keras`` file of one's own: what it becomes, and what is refused in one line, mostly without TensorFlow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import examples
from digits import SIDE, small_network
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlkit.api.backbones.show import stages_of
from tlkit.backbones.build import build_backbone, check_request
from tlkit.backbones.catalog.table import is_file_name
from tlkit.backbones.extractor import open_extractor
from tlkit.backbones.features import feature_key
from tlkit.backbones.own.keras_file import file_backbone
from tlkit.backbones.own.rebuild import model_from_file
from tlkit.backbones.runtime import import_keras
from tlkit.errors import TlkitError

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def keras() -> Any:
    return import_keras()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def save(folder: Path) -> Save:
    """Save a model under a name, with statistics and biases that are not the trivial ones it starts with."""

    def run(model: Any, name: str) -> Path:
        rng = np.random.default_rng(0)
        for layer in model.layers:
            if type(layer).__name__ == "BatchNormalization":
                layer.set_weights([np.abs(1 + 0.2 * rng.standard_normal(each.shape)) for each in layer.get_weights()])
        model.save(folder / f"{name}.keras")
        return folder / f"{name}.keras"

    return run


@pytest.fixture(scope="module")
def fixed(save: Save) -> Path:
    return save(small_network(rescaling=True), "fixed")


@pytest.fixture(scope="module")
def bare(save: Save) -> Path:
    return save(small_network(), "bare")


@pytest.fixture(scope="module")
def free(save: Save) -> Path:
    return save(small_network(None), "free")


@pytest.fixture(scope="module")
def grey(save: Save) -> Path:
    return save(small_network(channels=1), "grey")


def pixels(side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, side, side, 3)).astype(np.float32)


def maps_of(keras: Any, file: Path, given: np.ndarray, layer: str = "relu2") -> np.ndarray:
    """What the network in a file gives by itself."""
    model = keras.models.load_model(file, compile=False)
    return np.asarray(keras.Model(model.input, model.get_layer(layer).output)(given, training=False))


def test_the_top_is_cut_off_and_the_rest_is_the_same(keras: Any, fixed: Path) -> None:
    network = build_backbone(str(fixed))
    expected = maps_of(keras, fixed, pixels())
    np.testing.assert_allclose(network.model(pixels()), expected, atol=1e-5)
    assert [(each.name, each.layer, each.height, each.channels) for each in network.stages] == [
        ("stage1", "relu0", 16, 8),
        ("stage2", "relu1", 8, 16),
        ("stage3", "relu2", 4, 32),
    ]
    assert network.model.get_layer("conv1").trainable
    assert network.backbone.name.startswith("fixed-")
    assert "digit" not in [layer.name for layer in network.model.layers]


def test_a_network_without_top_is_taken_whole(keras: Any, save: Save) -> None:
    file = save(small_network(rescaling=True, top=False), "no_top")
    np.testing.assert_allclose(build_backbone(str(file)).model(pixels()), maps_of(keras, file, pixels()), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("included", lambda x: x),
        ("scale-0-1", lambda x: x / 255),
        ("tf", lambda x: x / 127.5 - 1),
        ("scale-minus1-1", lambda x: x / 127.5 - 1),
        ("lite", lambda x: (x - 127) / 128),
        ("torch", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("caffe", lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
    ],
)
def test_what_is_asked_for_is_done_to_the_pixels(
    keras: Any, bare: Path, kind: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    model = build_backbone(file_backbone(bare, kind)).model
    expected = maps_of(keras, bare, change(pixels()).astype(np.float32))
    np.testing.assert_allclose(model(pixels()), expected, atol=1e-4, rtol=1e-4)


def test_a_grey_network_gets_rgb_made_grey(keras: Any, grey: Path) -> None:
    given = pixels()
    model = build_backbone(file_backbone(grey, "scale-0-1")).model
    lightness = (given @ np.array([[0.299], [0.587], [0.114]], np.float32)) / 255
    np.testing.assert_allclose(model(given), maps_of(keras, grey, lightness), atol=1e-5)
    with pytest.raises(TlkitError, match="three channels"):
        file_backbone(grey, "torch")


def test_a_network_of_any_size_takes_the_size_asked_for(keras: Any, free: Path) -> None:
    row = file_backbone(free, "scale-0-1")
    network = build_backbone(row, input_size=24)
    assert network.stages[-1].height == 6
    np.testing.assert_allclose(network.model(pixels(24)), maps_of(keras, free, pixels(24) / 255), atol=1e-5)
    assert check_request(row, "imagenet", None)[1] == 224
    with pytest.raises(TlkitError, match="cannot take 2x2 pixels"):
        build_backbone(row, input_size=2)


def test_a_network_of_one_size_takes_no_other(fixed: Path) -> None:
    with pytest.raises(TlkitError, match=r"takes 16x16 pixels, not 32x32") as caught:
        check_request(str(fixed), "imagenet", 32)
    assert "None, None, 3" in caught.value.hint


def test_nested_models_operations_and_augmentation_are_taken_apart(keras: Any, save: Save) -> None:
    layers = keras.layers
    stem = keras.Sequential([layers.Conv2D(4, 3, padding="same"), layers.ReLU()], name="stem")
    inner_in = keras.Input((None, None, 4))
    inner = keras.Model(inner_in, layers.Conv2D(4, 3, padding="same", name="logits")(inner_in), name="_inner")
    image = keras.Input((16, 16, 3))
    x = layers.RandomFlip()(image)
    x = stem(x / 127.5 - 1)
    x = layers.MaxPooling2D()(keras.ops.relu(x + inner(x)))
    x = layers.Conv2D(6, 3, padding="same", name="head_pool_x")(x)
    x = keras.ops.tanh(x)
    model = keras.Model(image, layers.Dense(3, name="probabilities")(keras.ops.mean(x, axis=(1, 2))))
    file = save(model, "nested")
    row = file_backbone(file)
    assert row.preprocessing == "included"
    built = build_backbone(row)
    expected = np.asarray(keras.Model(image, x)(pixels(), training=False))
    np.testing.assert_allclose(built.model(pixels()), expected, atol=1e-5)
    names = [each.name for each in built.model.layers]
    assert not any(isinstance(each, keras.Model) for each in built.model.layers)
    assert not any(name.startswith(("head_pool", "_", "random")) or name == "logits" for name in names)
    assert len(built.stages) == 2
    extractor = open_extractor(row, engine="litert")
    assert extractor.engine == "litert"
    found = extractor.forward()(pixels().astype(np.uint8))
    np.testing.assert_allclose(found[:, -6:], expected.mean(axis=(1, 2)), atol=1e-4)


def test_preprocessing_of_keras_applications_is_seen(keras: Any, save: Save) -> None:
    image = keras.Input((16, 16, 3))
    for kind in ("resnet", "mobilenet_v2", "densenet"):
        x = getattr(keras.applications, kind).preprocess_input(image)
        file = save(keras.Model(image, keras.layers.Conv2D(4, 3, strides=2)(x)), kind)
        assert file_backbone(file).preprocessing == "included", kind
    both = keras.layers.Conv2D(4, 3)(image)
    file = save(keras.Model(image, both + both), "none")
    assert "the preprocessing of" in refused(file).message


def test_a_sequential_model_is_used_like_any_other(keras: Any, save: Save) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, padding="same", name="first"),
            layers.MaxPooling2D(),
            layers.Conv2D(6, 3, padding="same", name="second"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    model.build((None, 16, 16, 3))
    network = build_backbone(str(save(model, "sequential")))
    assert [each.layer for each in network.stages] == ["first", "second"]


def test_a_network_of_one_resolution_has_a_stage_for_every_layer_with_weights(keras: Any, save: Save) -> None:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    for index in range(3):
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name=f"c{index}")(x)
    network = build_backbone(str(save(keras.Model(image, keras.layers.Flatten()(x)), "level")))
    assert [each.layer for each in network.stages] == ["c0", "c1", "c2"]


def test_mixed_precision_of_the_file_does_not_stay(keras: Any, save: Save) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        file = save(small_network(rescaling=True), "mixed")
    finally:
        keras.config.set_dtype_policy("float32")
    model = build_backbone(str(file)).model
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_normalization_keeps_its_statistics(keras: Any, save: Save) -> None:
    image = keras.Input((16, 16, 3))
    norm = keras.layers.Normalization()
    norm.adapt(pixels(16))
    x = keras.layers.Conv2D(4, 3, strides=2, name="a")(norm(image))
    x = keras.layers.Conv2D(4, 3, strides=2, name="b")(x)
    file = save(keras.Model(image, x), "normalization")
    assert file_backbone(file).preprocessing == "included"
    np.testing.assert_allclose(
        build_backbone(str(file)).model(pixels()), maps_of(keras, file, pixels(), "b"), atol=1e-5
    )


def test_results_are_kept_by_content_and_preprocessing_not_by_name(bare: Path, tmp_path: Path) -> None:
    moved = shutil.copy(bare, tmp_path / "else.keras")
    keys = [
        feature_key(open_extractor(file_backbone(file, kind), engine="keras")).digest()
        for file, kind in ((bare, "tf"), (moved, "tf"), (bare, "lite"))
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_file_that_changes_meanwhile_is_not_used(bare: Path, fixed: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(bare, tmp_path / "mine.keras"))
    row = file_backbone(file, "tf")
    shutil.copy(fixed, file)
    with pytest.raises(TlkitError, match="has changed"):
        model_from_file(row, SIDE)


def test_backbones_show_lists_the_stages_of_a_file(bare: Path) -> None:
    found = stages_of(str(bare))
    assert [each.layer for each in found.stages] == ["relu0", "relu1", "relu2"]
    assert found.early == ("stage2",)


@pytest.mark.parametrize(
    ("name", "is_file"),
    [("a.keras", True), ("./vgg16", True), ("a.h5", True), ("vgg16", False), ("Inception.V3", False), ("auto", False)],
)
def test_names_and_files_are_told_apart(name: str, is_file: bool) -> None:
    assert is_file_name(name) == is_file


def refused(file: Path | str, kind: str | None = None) -> TlkitError:
    with pytest.raises(TlkitError) as caught:
        build_backbone(file_backbone(file, kind))
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def test_nothing_says_what_pixels_it_takes(bare: Path) -> None:
    error = refused(bare)
    assert "does not begin with Rescaling or Normalization" in error.message
    assert "--preprocessing" in error.hint
    assert "unknown --preprocessing" in refused(bare, "nonsense").message


def test_weights_have_no_meaning_with_a_file(fixed: Path) -> None:
    with pytest.raises(TlkitError, match="the file has its own"):
        check_request(str(fixed), "none", None)


def test_no_such_file_suggests_the_nearest(folder: Path, fixed: Path) -> None:
    error = refused(folder / "fxed.keras")
    assert "no such file" in error.message
    assert "fixed.keras" in error.hint
    assert "is a folder" in refused(folder).message


def test_what_is_no_keras_file_is_refused(fixed: Path, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"x")
    assert "not a .keras file" in refused(tmp_path / "a.h5").message
    for content in (b"", b"not a zip", b"PK\x03\x04" + b"\0" * 60):
        (tmp_path / "b.keras").write_bytes(content)
        assert "damaged or not a .keras file" in refused(tmp_path / "b.keras").message
    with zipfile.ZipFile(tmp_path / "c.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    assert "no model.weights.h5" in refused(tmp_path / "c.keras").message


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_file_cut_short_is_refused(fixed: Path, tmp_path: Path, kept: float) -> None:
    content = fixed.read_bytes()
    (tmp_path / "cut.keras").write_bytes(content[: int(kept * len(content))])
    assert "damaged" in refused(tmp_path / "cut.keras").message


def test_a_flipped_byte_is_found(fixed: Path, tmp_path: Path) -> None:
    content = bytearray(fixed.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "flipped.keras").write_bytes(content)
    assert "damaged" in refused(tmp_path / "flipped.keras").message


def rewritten(file: Path, to: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """The same archive with another configuration."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                content = json.dumps(change(config) or config).encode()
            new.writestr(name, content)
    return to


def test_another_networks_weights_are_refused(fixed: Path, tmp_path: Path) -> None:
    def wider(config: dict[str, Any]) -> None:
        next(each for each in config["config"]["layers"] if each["name"] == "conv1")["config"]["filters"] = 17

    assert "cannot load" in refused(rewritten(fixed, tmp_path / "w.keras", wider)).message


@pytest.mark.parametrize("content", [[], {"config": 3}, {"class_name": "Functional", "module": "keras", "config": {}}])
def test_a_configuration_that_describes_no_network_is_refused(fixed: Path, tmp_path: Path, content: Any) -> None:
    refused(rewritten(fixed, tmp_path / "odd.keras", lambda _: content or [0]))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a configuration."""
    found: list[tuple[Any, Any]] = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((value, key))
        if isinstance(inner, dict | list):
            found.extend(places(inner))
    return found


@settings(max_examples=examples(2), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_configuration_that_was_tampered_with_is_read_or_refused(
    fixed: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Nothing but a `TlkitError` comes of it, and what is read names a size."""

    def tamper(config: dict[str, Any]) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            container, key = data.draw(st.sampled_from(places(config)))
            container[key] = data.draw(st.sampled_from([None, 3, -1, "x", [], {}, [None, "a", 3], True, 1.5]))

    file = rewritten(fixed, tmp_path / "tampered.keras", tamper)
    with suppress(TlkitError):
        assert file_backbone(file, "tf").input_size > 0


def test_code_in_a_file_is_refused_and_not_run(keras: Any, save: Save, fixed: Path, tmp_path: Path) -> None:
    image = keras.Input((16, 16, 3))
    file = save(keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image)), "with_lambda")
    assert "Lambda" in refused(file, "tf").message

    def own_layer(config: dict[str, Any]) -> None:
        config["config"]["layers"][1] |= {"module": "os", "class_name": "system", "registered_name": "Mine>system"}

    assert "custom object system" in refused(rewritten(fixed, tmp_path / "c.keras", own_layer)).message

    def subclassed(config: dict[str, Any]) -> None:
        config |= {"module": "__main__", "class_name": "MyNet"}

    assert "subclassed model (MyNet)" in refused(rewritten(fixed, tmp_path / "s.keras", subclassed)).message


def test_what_takes_no_images_is_refused(keras: Any, save: Save) -> None:
    layers = keras.layers
    vector = keras.Input((7,))
    assert "does not take images" in refused(save(keras.Model(vector, layers.Dense(2)(vector)), "vector")).message
    image = keras.Input((16, 16, 4))
    assert "takes 4 channels" in refused(save(keras.Model(image, layers.Conv2D(2, 3)(image)), "rgba")).message
    wide = keras.Input((16, 24, 3))
    assert "not square: 16x24" in refused(save(keras.Model(wide, layers.Conv2D(2, 3)(wide)), "wide")).message
    one, two = keras.Input((8, 8, 3), name="one"), keras.Input((8, 8, 3), name="two")
    assert "2 inputs: one, two" in refused(save(keras.Model([one, two], layers.Add()([one, two])), "two")).message
    outputs = [layers.Conv2D(2, 3)(one), layers.Conv2D(2, 3)(one)]
    assert "2 outputs" in refused(save(keras.Model(one, outputs), "fork")).message


def test_what_has_no_maps_or_stages_is_refused(keras: Any, save: Save) -> None:
    layers = keras.layers
    image = keras.Input((16, 16, 3))
    dense = layers.Dense(2)(layers.Flatten()(layers.Rescaling(1 / 255)(image)))
    assert "has no feature maps" in refused(save(keras.Model(image, dense), "dense"), "tf").message
    single = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(image))
    assert "cannot be divided into stages" in refused(save(keras.Model(image, single), "single"), "tf").message
    conv = layers.Conv2D(3, 3, padding="same")
    assert "more than once" in refused(save(keras.Model(image, conv(conv(image))), "shared"), "tf").message
    low = layers.Conv2D(2, 3)(image)
    high = layers.Conv2D(2, 3, strides=2)(low)
    pooled = [layers.GlobalAveragePooling2D()(each) for each in (low, high)]
    joined = keras.Model(image, layers.Concatenate()(pooled))
    assert "branches after" in refused(save(joined, "parted"), "tf").message
    tokens = layers.Reshape((-1, 4))(layers.Conv2D(4, 4, strides=4)(image))
    transformer = keras.Model(image, layers.MultiHeadAttention(1, 4)(tokens, tokens))
    assert "MultiHeadAttention" in refused(save(transformer, "tokens"), "tf").message


def test_a_file_is_looked_at_without_tensorflow(fixed: Path) -> None:
    code = (
        "import sys; from tlkit.backbones.build import check_request; "
        f"check_request({str(fixed)!r}, 'imagenet', None); sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
