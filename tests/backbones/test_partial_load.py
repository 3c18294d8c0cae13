"""A weights file that holds a part of a network fills that part, and says so; another network's file fills nothing."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.backbones import catalog
from tlkit.backbones.build import build_backbone
from tlkit.backbones.extractor import open_extractor
from tlkit.backbones.litert import conversions
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.weights.loading import load_weights
from tlkit.backbones.weights.partial_load import MisfitError, StoredLayers, match_by_name
from tlkit.errors import TlkitError
from tlkit.progress import SilentProgress

NAME, SIZE = catalog.DEFAULT, 32


@pytest.fixture(scope="module")
def imagenet():
    return build_backbone(NAME, input_size=SIZE).model


@pytest.fixture(scope="module")
def other():
    """The same network with other weights."""
    yield build_backbone(NAME, weights="none", input_size=SIZE, seed=7).model
    import_keras().backend.clear_session()


def by_layer(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def names_of(model):
    return list(by_layer(model))


@pytest.fixture(scope="module")
def partial(other, tmp_path_factory):
    """A file of each layout that has one layer less, and one of another shape."""
    folder = tmp_path_factory.mktemp("partial")
    first, gone = names_of(other)[0], names_of(other)[-6]
    other.save_weights(folder / "new.weights.h5")
    with h5py.File(folder / "new.weights.h5", "a") as file:
        groups = {}
        file.visititems(lambda path, item: groups.update({item.attrs.get("name"): path}))
        del file[groups[gone]]["0"]
        del file[groups[gone]]
        shape = file[groups[first]]["0"].shape
        del file[groups[first]]["0"]
        file[groups[first]]["0"] = np.zeros((shape[0], shape[1], 1, shape[3]), "float32")
    other.save(folder / "old.h5")
    with h5py.File(folder / "old.h5", "a") as file:
        group = file["model_weights"]
        group.attrs["layer_names"] = [name for name in group.attrs["layer_names"] if name not in (gone, gone.encode())]
        layer = group[first]
        name = layer.attrs["weight_names"][0]
        shape = layer[name].shape
        del layer[name]
        layer[name] = np.zeros((shape[0], shape[1], 1, shape[3]), "float32")
    return folder, first, gone


@pytest.mark.parametrize("file", ["new.weights.h5", "old.h5"])
def test_what_fits_is_filled_and_the_rest_is_imagenets(partial, imagenet, other, file):
    folder, first, gone = partial
    network = build_backbone(NAME, weights=folder / file, input_size=SIZE)
    found, given_, before = by_layer(network.model), by_layer(other), by_layer(imagenet)
    for name, values in found.items():
        assert same(values, before[name] if name in (first, gone) else given_[name]), name
    assert set(network.partial_load.filled) == set(found) - {first, gone}
    assert dict(network.partial_load.missing) == {
        first: "of shape (3, 3, 1, 32) instead of (3, 3, 3, 32)",
        gone: "not in the file",
    }
    line = network.partial_load.note(file)
    assert f"{file} fills {len(found) - 2} of {len(found)} layers, the others have ImageNet weights: " in line
    assert first in line
    assert gone in line
    assert "\n" not in line


class Notes(SilentProgress):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def test_it_is_said_at_every_run(partial, imagenet):
    """Also where the converted network comes from the cache, and nothing is loaded."""
    file, first, later = partial[0] / "old.h5", Notes(), Notes()
    found = open_extractor(NAME, weights=str(file), input_size=SIZE, engine="keras", progress=first)
    assert found.partial_note.startswith("old.h5 fills 96 of 98 layers")
    conversions.keep(NAME, found.weights_hash, SIZE, conversions.Conversion(found.taps, b"graph", found.partial_note))
    again = open_extractor(NAME, weights=str(file), input_size=SIZE, engine="litert", progress=later)
    assert again.partial_note == found.partial_note
    assert first.said == later.said == [found.partial_note]


def test_a_whole_file_has_nothing_to_say(other, imagenet, tmp_path):
    other.save_weights(tmp_path / "whole.weights.h5")
    network = build_backbone(NAME, weights=tmp_path / "whole.weights.h5", input_size=SIZE)
    assert not network.partial_load.missing
    assert network.partial_load.note("whole.weights.h5") == ""


@pytest.fixture(scope="module")
def deeper():
    """Its layers have the same names and mostly the same shapes."""
    return build_backbone("efficientnet-lite1", weights="none", input_size=SIZE).model


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_deeper_network_of_the_family_is_refused(imagenet, deeper, tmp_path, suffix):
    deeper.save(tmp_path / f"deeper.{suffix}")
    before = imagenet.get_weights()
    with pytest.raises(TlkitError, match=f"does not hold weights for {NAME}: the network lacks") as caught:
        load_weights(imagenet, catalog.get(NAME), tmp_path / f"deeper.{suffix}")
    assert "\n" not in caught.value.message
    assert same(before, imagenet.get_weights())


class Layer:
    def __init__(self, name):
        self.name = name


def matched(network, file):
    """Match layers a: 1, b: 2, ... told by name and width."""
    with h5py.File("x", "w", driver="core", backing_store=False) as store:
        arrays = {name: [store.create_dataset(name, data=np.zeros(width))] for name, width in file}
        layers = [(Layer(name), [np.zeros(width)]) for name, width in network]
        return match_by_name(layers, StoredLayers(arrays, [list(arrays)]))[1]


widths = st.lists(st.integers(1, 3), min_size=1, max_size=12)


@given(widths, st.lists(st.integers(0, 20), max_size=4, unique=True), st.integers(0, 3))
def test_every_layer_is_filled_or_said_to_be_missing(sizes, dropped, head):
    network = [(f"layer{i}", width) for i, width in enumerate(sizes)]
    file = [each for i, each in enumerate(network) if i not in dropped]
    file += [(f"head{i}", 1) for i in range(head)]
    left = [name for name, _ in file if name.startswith("layer")]
    if not left or head >= len(left):
        with pytest.raises(MisfitError):
            matched(network, file)
        return
    found = matched(network, file)
    assert list(found.filled) == left
    assert {name for name, _ in found.missing} == {name for name, _ in network} - set(left)


def test_layers_without_a_place_among_the_others_give_another_network_away():
    network = [("a", 1), ("b", 1), ("c", 1), ("d", 1)]
    assert matched(network, [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("head", 2)]).missing == ()
    assert len(matched(network, [("a", 1), ("x", 2), ("c", 1), ("d", 1)]).missing) == 1
    with pytest.raises(MisfitError):
        matched(network, [("a", 1), ("b", 1), ("more", 1), ("c", 1), ("d", 1)])
    with pytest.raises(MisfitError, match="none of the network's 4 layers"):
        matched(network, [("p", 1), ("q", 2)])
