"""Weights files of every kind are read whole or refused in one line."""

import inspect
import pickle
import shutil
import socket

import h5py
import numpy as np
import pytest

from tlkit.backbones import catalog
from tlkit.backbones.build import build_backbone
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.weights.loading import cached_path, load_weights
from tlkit.errors import TlkitError

NAME = "mobilenet-v3-small"
ROW = catalog.get(NAME)


@pytest.fixture(scope="module")
def keras():
    module = import_keras()
    yield module
    module.backend.clear_session()


@pytest.fixture(scope="module")
def files(keras, tmp_path_factory):
    """One file of each kind, all with the same weights, of the network with and without its classifier."""
    folder = tmp_path_factory.mktemp("weights")
    network = keras.applications.MobileNetV3Small(weights=None, input_shape=(64, 64, 3))
    for suffix in ("h5", "keras"):
        network.save(folder / f"with_top.{suffix}")
    network.save_weights(folder / "with_top.weights.h5")
    body = keras.Model(network.input, network.get_layer("conv_1_bn").output)
    body.save(folder / "no_top.h5")
    # What Keras 1 and 2 called a weights file is the group of weights of the whole model's file.
    with h5py.File(folder / "with_top.h5") as whole, h5py.File(folder / "legacy_weights.h5", "w") as weights:
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", weights)
        weights.attrs.update(whole["model_weights"].attrs)
    features = keras.Model(network.input, network.get_layer("conv_1_bn").output)
    image = keras.Input((64, 64, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(features(image))
    keras.Model(image, keras.layers.Dense(2)(pooled)).save(folder / "nested.keras")
    return folder, [value for layer in body.layers for value in layer.get_weights()]


@pytest.fixture(scope="module")
def built(keras):
    model = build_backbone(NAME, weights="none", input_size=32).model
    return model, model.get_weights()


@pytest.fixture
def model(built):
    """The network, its weights as random as when it was built."""
    model, weights = built
    model.set_weights(weights)
    return model


@pytest.mark.parametrize(
    "file",
    [
        "with_top.h5",
        "with_top.keras",
        "with_top.weights.h5",
        "no_top.h5",
        "legacy_weights.h5",
        "nested.keras",
    ],
)
def test_every_kind_of_file_fills_every_layer(files, model, file):
    folder, expected = files
    assert len(load_weights(model, ROW, folder / file)) == 64
    values = model.get_weights()
    assert len(values) == len(expected)
    assert all(np.array_equal(value, wanted) for value, wanted in zip(values, expected, strict=True))


def test_a_hash_is_the_files_own(files, model):
    folder, _ = files
    hashes = {load_weights(model, ROW, folder / file) for file in ("with_top.h5", "with_top.h5", "no_top.h5")}
    assert len(hashes) == 2


def refused(model, path):
    """Load what must be refused; the model must stay as it was."""
    before = model.get_weights()
    with pytest.raises(TlkitError) as caught:
        load_weights(model, ROW, path)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


@pytest.mark.parametrize("suffix", ["h5", "keras", "weights.h5"])
def test_another_networks_file_is_refused(keras, model, tmp_path, suffix):
    other = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
    path = tmp_path / f"other.{suffix}"
    other.save_weights(path) if suffix == "weights.h5" else other.save(path)
    error = refused(model, path)
    assert f"does not hold weights for {NAME}" in error.message


def test_a_misfit_in_the_last_layer_leaves_the_model_as_it_was(files, model, tmp_path):
    path = shutil.copy(files[0] / "no_top.h5", tmp_path / "broken.h5")
    with h5py.File(path, "a") as file:
        group = file["model_weights"]
        layer = group[group.attrs["layer_names"][-1]]
        names = layer.attrs["weight_names"]
        del layer[names[-1]]
        layer[names[-1]] = np.zeros(3, "float32")
    assert "shape (3,)" in refused(model, path).message


def test_a_missing_layer_without_imagenet_weights_is_named(files, model, tmp_path, monkeypatch):
    def nothing(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(import_keras().utils, "get_file", nothing)
    path = shutil.copy(files[0] / "with_top.weights.h5", tmp_path / "short.weights.h5")
    with h5py.File(path, "a") as file:
        del file["layers/conv2d_5"]
    error = refused(model, path)
    assert "fills only 85 of 86 layers" in error.message
    assert "1 not in the file (expanded_conv_1_project)" in error.message
    assert "--weights FILE" in error.hint


@pytest.mark.parametrize("content", [b"", b"not weights", pickle.dumps({"a": 1}), b"\x89HDF\r\n\x1a\n" + b"\0" * 99])
def test_what_is_no_weights_file_is_refused(model, tmp_path, content):
    path = tmp_path / "thing.h5"
    path.write_bytes(content)
    assert "is not a weights file" in refused(model, path).message


@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize("file", ["with_top.h5", "with_top.keras"])
def test_a_file_cut_short_is_refused(files, model, tmp_path, file, kept):
    content = (files[0] / file).read_bytes()
    path = tmp_path / file
    path.write_bytes(content[: int(len(content) * kept)])
    assert "is not a weights file" in refused(model, path).message


def test_hdf5_without_weights_is_refused(model, tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = np.zeros(3)
    assert "does not have a Keras layout" in refused(model, tmp_path / "data.h5").message


def test_a_missing_file_suggests_the_nearest_name(files, model):
    error = refused(model, files[0] / "with_tops.h5")
    assert error.message.startswith("no such file: --weights")
    assert "with_top.h5" in error.hint


def test_a_folder_is_refused(files, model):
    assert "is a folder" in refused(model, files[0]).message


def test_no_network_names_the_file_its_place_and_the_ways_out(keras, model, monkeypatch, capsys):
    timeouts = []

    def get_file(*args, **kwargs):
        timeouts.append(socket.getdefaulttimeout())
        print("Downloading data from somewhere")
        raise Exception("URL fetch failure on somewhere: None -- [Errno -3]\nTemporary failure in name resolution")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    error = refused(model, "imagenet")
    assert ROW.weights_file in error.message
    assert str(cached_path(ROW)) in error.hint
    assert "Temporary failure" in error.message
    assert "--weights FILE" in error.hint
    assert catalog.DEFAULT in error.hint
    assert len(timeouts) == 1
    assert 0 < timeouts[0] <= 30
    assert socket.getdefaulttimeout() is None
    assert capsys.readouterr().out == ""


def test_a_file_in_kerass_cache_is_used(keras, files, model, monkeypatch):
    asked = []

    def get_file(*args, **kwargs):
        asked.append((args, kwargs))
        return str(files[0] / "no_top.h5")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    load_weights(model, ROW, "imagenet")
    assert asked == [
        (
            (ROW.weights_file,),
            {"origin": ROW.weights_url, "cache_subdir": "models", "file_hash": ROW.weights_checksum},
        )
    ]
    assert np.array_equal(model.get_weights()[0], files[1][0])


DOWNLOADED = [catalog.get(name) for name in catalog.names() if not catalog.get(name).packaged]
FIRST_OF_FAMILY = {row.family: row.name for row in reversed(DOWNLOADED)}


@pytest.mark.parametrize("row", DOWNLOADED, ids=lambda row: row.name)
def test_checksums_are_those_in_keras_sources(keras, row):
    # The checksums of both versions of ResNet are in the first one's module.
    function = "ResNet50" if row.family == "resnet" else row.keras_name
    source = inspect.getsource(inspect.getmodule(getattr(keras.applications, function)))
    assert row.weights_checksum in source
    # MobileNet and MobileNetV2 are the two that Keras downloads unchecked.
    assert bool(row.weights_checksum) == (row.name not in ("mobilenet", "mobilenet-v2"))


SLOW = {"nasnet-mobile", "densenet121", "inception-v3"}  # to build


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.thorough if each in SLOW else ()) for each in FIRST_OF_FAMILY.values()],
)
def test_catalogue_agrees_with_what_keras_downloads(keras, monkeypatch, name):
    """File, address and checksum are Keras's own: its network is stopped where it asks for the file."""
    row = catalog.get(name)
    asked = []

    class StopError(Exception):
        pass

    def get_file(*args, **kwargs):
        asked.append((args, kwargs))
        raise StopError

    def zeros(self, shape, dtype=None):
        return keras.ops.zeros(shape, dtype=dtype or "float32")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", zeros)
    with pytest.raises(StopError):
        getattr(keras.applications, row.keras_name)(weights="imagenet", include_top=False)
    keras.backend.clear_session()
    ((args, kwargs),) = asked
    origin = args[1] if len(args) > 1 else kwargs["origin"]
    checksum = kwargs.get("file_hash") or kwargs.get("md5_hash") or ""
    assert (args[0], origin, checksum) == (row.weights_file, row.weights_url, row.weights_checksum)
