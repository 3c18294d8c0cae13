"""Files of weights that name other files, declare sizes that they have not, or hold more than a network."""

from __future__ import annotations

import importlib
import io
import json
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tlkit.backbones.own.keras_file import file_backbone
from tlkit.backbones.own.rebuild import model_from_file
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.weights.archive import load_model, open_weights
from tlkit.backbones.weights.hdf5_check import UnsafeFileError
from tlkit.errors import TlkitError

SHAPE = (3, 4)


def external_link(file: h5py.File, other: Path) -> None:
    file["layers/a/vars/0"] = h5py.ExternalLink(str(other), "/secret")


def external_storage(file: h5py.File, other: Path) -> None:
    file.create_dataset("layers/a/vars/0", SHAPE, "f4", external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[...] = h5py.VirtualSource(str(other), "secret", SHAPE)
    file.create_virtual_dataset("layers/a/vars/0", layout)


def soft_loop(file: h5py.File, other: Path) -> None:
    file["layers/a/vars/0"] = h5py.SoftLink("/layers/a/vars/0")


def sparse(file: h5py.File, other: Path) -> None:
    file.create_dataset("layers/a/vars/0", (1 << 40,), "f4")


def packed(file: h5py.File, other: Path) -> None:
    file.create_dataset("layers/a/vars/0", data=np.zeros(1 << 22, np.float32), compression="gzip", chunks=(1 << 20,))


def deep(file: h5py.File, other: Path) -> None:
    file.create_group("/".join(["a"] * 100))


def long_texts(file: h5py.File, other: Path) -> None:
    """A list of references to texts, which may all be to the long one: 40 KB of them would be 2.5 GB of texts."""
    file.attrs["config"] = "x" * 1_000_000
    file.attrs["layer_names"] = ["x"] * 2500


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (external_link, "link to elsewhere"),
        (external_storage, "lies in another file"),
        (virtual, "lies in another file"),
        (soft_loop, "link to elsewhere"),
        (sparse, "8 times as much data"),
        (packed, "8 times as much data"),
        (deep, "too deep"),
        (long_texts, "attributes are too large"),
    ],
)
def test_what_weights_do_not_need_is_refused(
    make: Callable[[h5py.File, Path], None], said: str, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.ones(SHAPE, np.float32)
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file["layers/b/vars/0"] = np.ones(SHAPE, np.float32)
        make(file, tmp_path / "other.h5")
    with pytest.raises(UnsafeFileError, match=said), open_weights(tmp_path / "bad.h5"):
        pass
    with zipfile.ZipFile(tmp_path / "bad.keras", "w") as archive:
        archive.write(tmp_path / "bad.h5", "model.weights.h5")
    with pytest.raises(UnsafeFileError, match=said), open_weights(tmp_path / "bad.keras"):
        pass


def test_lists_of_texts_that_keras_writes_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "good.h5", "w") as file:
        file.attrs["layer_names"] = [f"layer{number}" for number in range(2500)]
    with open_weights(tmp_path / "good.h5") as file:
        assert len(file.attrs["layer_names"]) == 2500


def rebuilt(source: Path, target: Path, change: Callable[[dict[str, bytes]], None], deflated: bool = False) -> Path:
    """A ``.keras`` file whose members are changed."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def with_config(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A ``.keras`` file whose configuration is changed."""

    def changed(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()

    return rebuilt(source, target, changed)


def layer(config: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in config["config"]["layers"] if each["class_name"] == kind)
    return found


def test_a_huge_configuration_is_refused_before_it_is_unpacked(small: Path, tmp_path: Path) -> None:
    def changed(members: dict[str, bytes]) -> None:
        members["config.json"] = members["config.json"] + b" " * (400 << 20)

    file = rebuilt(small, tmp_path / "bomb.keras", changed, deflated=True)
    assert file.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TlkitError, match=r"config\.json in it would unpack to 419,\d+,\d+ bytes"):
        file_backbone(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # KiB


@pytest.mark.parametrize(("name", "said"), [("assets/x", "do not need: assets/x"), ("../evil", "do not need: ../evil")])
def test_members_that_networks_do_not_have_are_refused(name: str, said: str, small: Path, tmp_path: Path) -> None:
    file = rebuilt(small, tmp_path / "more.keras", lambda members: members.update({name: b"x"}))
    with pytest.raises(TlkitError, match=said):
        file_backbone(file)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(small: Path, tmp_path: Path) -> None:
    data = io.BytesIO(small.read_bytes())
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "twice.keras").write_bytes(data.getvalue())
    with pytest.raises(TlkitError, match="a file twice"):
        file_backbone(tmp_path / "twice.keras")


def test_a_network_of_more_weights_than_the_file_has_takes_no_memory(small: Path, tmp_path: Path) -> None:
    def changed(config: dict[str, Any]) -> None:
        layer(config, "Dense")["config"]["units"] = 10**9

    file = with_config(small, tmp_path / "wide.keras", changed)
    row = file_backbone(file)
    with pytest.raises(TlkitError, match="bytes of weights, and it holds"):
        model_from_file(row, 16)
    load_model(small)  # nothing is left of the other one


@pytest.mark.parametrize(
    "function",
    [
        {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"module": "keras.saving", "class_name": "load_model", "config": {}, "registered_name": None},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/x"}, "registered_name": None},
    ],
)
def test_functions_that_are_no_part_of_a_network_are_refused(
    function: dict[str, Any], small: Path, tmp_path: Path
) -> None:
    file = with_config(
        small, tmp_path / "call.keras", lambda config: layer(config, "Dense")["config"].update(activation=function)
    )
    with pytest.raises(TlkitError, match="which networks for images do not"):
        file_backbone(file)


@pytest.mark.parametrize("layer_kind", ["ReLU", "Conv2D"])
def test_activations_as_keras_writes_them_are_allowed(layer_kind: str, small: Path, tmp_path: Path) -> None:
    """As a name, and as a function of Keras."""
    function = {"module": "keras.activations", "class_name": "function", "config": "relu6", "registered_name": "relu6"}
    wanted = {"activation": function} if layer_kind == "Conv2D" else {}
    file = with_config(
        small, tmp_path / "same.keras", lambda config: layer(config, layer_kind)["config"].update(wanted)
    )
    assert load_model(file).count_params() == load_model(small).count_params()


@pytest.mark.parametrize(
    "name", ["convnext.LayerScale", "convnext.StochasticDepth", "inception_resnet_v2.CustomScaleLayer"]
)
def test_layers_that_keras_applications_bring_along_are_allowed(name: str, tmp_path: Path) -> None:
    keras = import_keras()
    module, _, kind = name.partition(".")
    made = getattr(importlib.import_module(f"keras.src.applications.{module}"), kind)
    image = keras.Input((4, 4, 3))
    options = {"LayerScale": (1e-6, 3), "StochasticDepth": (0.1,), "CustomScaleLayer": (0.5,)}[kind]
    x = made(*options)([image, image] if kind == "CustomScaleLayer" else image)
    keras.Model(image, x).save(tmp_path / "net.keras")
    assert load_model(tmp_path / "net.keras").output_shape == (None, 4, 4, 3)
