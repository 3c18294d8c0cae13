"""Where a backbone's weights come from, and what to say when they cannot be had."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import itertools
import re
import socket
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tlkit.backbones import catalog
from tlkit.backbones.catalog import Backbone, cached_path
from tlkit.backbones.filling import EVERYTHING, Filling, MisfitError, Stored, fill_by_name, snake_case, stored_by_name
from tlkit.backbones.runtime import import_keras
from tlkit.errors import TlkitError

IMAGENET, RANDOM = "imagenet", "none"  # what --weights takes besides a file
_NETWORK_TIMEOUT = 20.0  # seconds without an answer
_KERAS_WEIGHTS_ENTRY = "model.weights.h5"
# Layers that Keras nests in Sequential models and build_backbone does not: ConvNeXt's stem and downsampling.
_SEQUENTIAL_PART = re.compile(r"_(stem|downsampling)_(?:conv|layernorm)(_\d+)?$")

Pairs = list[tuple[Any, h5py.Dataset]]
"""Each variable of the model with the stored array that fills it."""


def load_weights(
    model: Any, backbone: Backbone, weights: str | Path, report: Callable[[Filling], None] | None = None
) -> str:
    """Fill all layers of a backbone.

    The file is compared with the whole network before anything is set, so a file of another network leaves
    the model as it was. Layers behind the network in the file, a classification head for example, are
    ignored. Nothing in the file is executed or unpickled: only its arrays are read.

    Where a file does not hold the whole network, the layers that it has by name and shape are filled, and the others
    get ImageNet weights; ``report`` says which. A bundle's ``model.keras`` may hold the first stages alone.

    Args:
        model: Flat ``keras.Model`` as ``build_backbone`` makes it, all layers trainable.
        backbone: Its catalogue row.
        weights: ``imagenet``: packaged, from Keras's cache, or downloaded into it. Else a file: HDF5 as
            Keras 1 and 2 wrote it (``.h5``, weights or whole model), ``.weights.h5``, or ``.keras``.
        report: Told what a file that does not hold the whole network fills.

    Returns:
        SHA-256 of the file used, in hex.

    Raises:
        TlkitError: There is no such file, it cannot be had, is no weights file, or is another network's.
    """
    if str(weights) == IMAGENET:
        if backbone.packaged:
            from tlkit.backbones.efficientnet_lite import load_packaged_weights

            return load_packaged_weights(model, backbone.variant)
        path = download(backbone)
    else:
        path = existing_file(weights)
    try:
        with _open_hdf5(path) as file:
            pairs, filling = _fill(model, file, partial=(path.parent / "tlkit.json").is_file())
            if len(pairs) < len(model.weights):
                _load_others(model, backbone, path, filling)
            for variable, stored in pairs:
                variable.assign(stored[()])
        digest = file_hash(path)
    except MisfitError as misfit:
        raise TlkitError(
            f"'{path}' does not hold weights for {backbone.name}: {misfit}",
            "name the backbone that the file was saved from, or leave --weights out",
        ) from misfit
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise TlkitError(
            f"'{path}' is not a weights file that can be read: {_one_line(error)}",
            "a .h5, .weights.h5 or .keras file is needed; if it was cut short, delete it and fetch it again",
        ) from error
    for layer in model.layers:
        # Keras's Normalization works with constants derived from its weights.
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    if report is not None:
        report(filling)
    return digest


def _load_others(model: Any, backbone: Backbone, path: Path, filling: Filling) -> None:
    """Give a network ImageNet weights, of which a file's are to replace a part."""
    try:
        load_weights(model, backbone, IMAGENET)
    except TlkitError as error:
        if not filling.missing:
            raise
        said = f"'{path}' fills {filling.share} of {backbone.name}, and not {filling.reasons}"
        raise TlkitError(f"{said}; the ImageNet weights that these would have cannot be had", error.hint) from error


def known_digest(backbone: Backbone, weights: str | Path, seed: int) -> str | None:
    """What `Network.weights_hash` will be, without building the network; None if that is not known yet.

    Args:
        backbone: Catalogue row of a network that is not packaged, or weights of another origin for one that is.
        weights: As for `load_weights`, or "none" for random ones.
        seed: Of random weights.

    Raises:
        TlkitError: There is no such weights file.
    """
    if str(weights) == RANDOM:
        return f"{RANDOM}-{seed}"
    if backbone.file:
        return backbone.digest
    path = existing_file(weights) if str(weights) != IMAGENET else cached_path(backbone)
    try:
        return file_hash(path)
    except OSError:
        return None


def download(backbone: Backbone) -> Path:
    """Get the ImageNet weights from Keras's cache, or into it from where Keras Applications publishes them.

    Args:
        backbone: Catalogue row of a network that is not packaged.

    Returns:
        The file in the cache; its checksum is checked where Keras publishes one.

    Raises:
        TlkitError: The file is not cached and cannot be downloaded.
    """
    keras = import_keras()
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_TIMEOUT)
    try:
        with _progress_off_stdout():
            return Path(
                keras.utils.get_file(
                    backbone.weights_file,
                    origin=backbone.weights_url,
                    cache_subdir="models",
                    file_hash=backbone.weights_checksum or None,
                )
            )
    except Exception as error:
        # Keras raises a bare Exception for a failed download, so nothing narrower can be caught.
        raise TlkitError(
            f"cannot download {backbone.weights_url} ({_reason(error)})",
            f"put that file at {cached_path(backbone)} or name it with --weights FILE; "
            f"the backbone {catalog.DEFAULT} needs no download",
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


@contextlib.contextmanager
def _progress_off_stdout() -> Iterator[None]:
    """Show Keras's download bar on a terminal's stderr, else not at all: stdout is for results."""
    stream = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with contextlib.redirect_stdout(stream):
        yield


def existing_file(weights: str | Path) -> Path:
    """The weights file of that name.

    Raises:
        TlkitError: There is none; the hint names the nearest in the same folder.
    """
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise TlkitError(f"the weights '{path}' are a folder", "name a .h5, .weights.h5 or .keras file")
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f"did you mean '{path.parent / near[0]}'?" if near else "--weights takes imagenet, none or a file"
    raise TlkitError(f"no weights file '{path}'", hint)


@contextlib.contextmanager
def _open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open the HDF5 part of any of Keras's files, told apart by content, not by name."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read(_KERAS_WEIGHTS_ENTRY))
        with h5py.File(content, "r") as file:
            yield file
    else:
        with h5py.File(path, "r") as file:
            yield file


def _fill(model: Any, file: h5py.File, partial: bool) -> tuple[Pairs, Filling]:
    """Match the whole network if the file has it, else what it has by name.

    Raises:
        MisfitError: The file is another network's.
    """
    try:
        return _match(model, file, partial), EVERYTHING
    except MisfitError:
        group = _legacy_group(file)
        stored = stored_by_name(file) if group is None else _stored_in_order(group)
        if not stored.arrays:
            raise
        return fill_by_name(_weighted_layers(model), stored)


def _stored_in_order(group: h5py.Group) -> Stored:
    """What Keras 1 and 2 saved of each layer."""
    names = {layer: _attribute(group[layer], "weight_names") for layer in _attribute(group, "layer_names")}
    arrays = {layer: [group[layer][weight] for weight in weights] for layer, weights in names.items() if weights}
    return Stored(arrays, [list(arrays)])


def _match(model: Any, file: h5py.File, partial: bool = False) -> Pairs:
    """Find the array for every variable of the model, or of its first layers, whichever layout the file has.

    Raises:
        MisfitError: No layout in the file fits the network.
    """
    if (group := _legacy_group(file)) is not None:
        return _match_in_order(model, group)
    containers: list[h5py.Group] = []
    file.visititems(lambda name, item: containers.append(item) if _is_layers(name, item) else None)
    if not containers:
        raise ValueError("it has none of the layouts of Keras")
    misfits = []
    # A backbone may also be nested in the model that was saved; the outermost container that fits is taken.
    for container in sorted(containers, key=lambda group: len(group.name)):
        for nested in (False, True):
            try:
                return _match_by_key(model, container, nested=nested, partial=partial)
            except MisfitError as misfit:
                misfits.append(misfit)
    raise misfits[0]


def _is_layers(name: str, item: Any) -> bool:
    return isinstance(item, h5py.Group) and name.rpartition("/")[2] == "layers"


def _legacy_group(file: h5py.File) -> h5py.Group | None:
    """Return the group of a file of Keras 1 and 2's layout: the root, or a part of a whole saved model."""
    group = file.get("model_weights", file)
    return group if _has_attribute(group, "layer_names") else None


def _match_in_order(model: Any, group: h5py.Group) -> Pairs:
    """Match Keras 1 and 2's layout, where layers are told apart by their order alone."""
    stored = [
        group[layer][weight]
        for layer in _attribute(group, "layer_names")
        for weight in _attribute(group[layer], "weight_names")
    ]
    wanted = [(layer, variable) for layer, variables in _weighted_layers(model) for variable in variables]
    if len(stored) < len(wanted):
        raise MisfitError(f"it has {len(stored)} arrays, the network {len(wanted)}")
    # What is left over belongs to layers behind the network.
    return [_fitting(layer.name, variable, array) for (layer, variable), array in zip(wanted, stored, strict=False)]


def _match_by_key(model: Any, container: h5py.Group, *, nested: bool, partial: bool = False) -> Pairs:
    """Match Keras 3's layout, where a layer is found by its class and number.

    Args:
        model: The model to fill.
        container: Group that holds one group a layer.
        nested: The file's network has ConvNeXt's stem and downsampling as Sequential models, as Keras does.
        partial: The last layers may be missing.
    """
    keys = _layer_keys(model, nested)
    pairs: Pairs = []
    for layer, variables in _weighted_layers(model):
        stored = container.get(f"{keys[layer.name]}/vars")
        count = len(stored) if isinstance(stored, h5py.Group) else 0
        if partial and pairs and not count:  # nothing behind this layer is taken either: it would not fit
            break
        if count != len(variables):
            raise MisfitError(f"it has {count} arrays for layer {layer.name}, the network {len(variables)}")
        pairs.extend(_fitting(layer.name, variable, stored[str(i)]) for i, variable in enumerate(variables))
    return pairs


def _layer_keys(model: Any, nested: bool) -> dict[str, str]:
    """Return the path that Keras 3 saves each layer under: its class in snake case, numbered."""
    counts: Counter[str] = Counter()
    keys: dict[str, str] = {}
    block, block_path = "", ""
    for layer in model.layers:
        kind = snake_case(type(layer).__name__)
        match = _SEQUENTIAL_PART.search(layer.name) if nested else None
        if match is None:
            keys[layer.name] = _numbered(kind, counts)
            continue
        if (part := match[1] + (match[2] or "")) != block:
            block, block_path = part, _numbered("sequential", counts)
        keys[layer.name] = f"{block_path}/layers/{kind}"
    return keys


def _numbered(kind: str, counts: Counter[str]) -> str:
    counts[kind] += 1
    return kind if counts[kind] == 1 else f"{kind}_{counts[kind] - 1}"


def _weighted_layers(model: Any) -> list[tuple[Any, list[Any]]]:
    """Return the layers that have weights, each with them in the order of Keras's files: trainable first."""
    layers = [(layer, [*layer.trainable_weights, *layer.non_trainable_weights]) for layer in model.layers]
    return [(layer, variables) for layer, variables in layers if variables]


def _fitting(layer: str, variable: Any, stored: Any) -> tuple[Any, h5py.Dataset]:
    """Pair a variable with a stored array if it may be filled with it."""
    if not isinstance(stored, h5py.Dataset) or not np.issubdtype(stored.dtype, np.number):
        raise MisfitError(f"layer {layer} has something else than numbers")
    if tuple(stored.shape) != tuple(variable.shape):
        raise MisfitError(f"layer {layer} has shape {tuple(stored.shape)}, the network {tuple(variable.shape)}")
    return variable, stored


def _has_attribute(group: h5py.Group, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """Read a list of names, which Keras splits into name0, name1, ... where one attribute is too small."""
    parts = [name] if name in group.attrs else []
    if not parts:
        parts = list(itertools.takewhile(group.attrs.__contains__, (f"{name}{i}" for i in itertools.count())))
    values = [value for part in parts for value in group.attrs[part]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _reason(error: BaseException) -> str:
    """Why a download failed, without the address that Keras repeats."""
    return re.sub(r"^URL fetch failure on \S+: (None -- )?", "", _one_line(error))
