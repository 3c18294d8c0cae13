"""Open ``.keras`` archives and HDF5 files that anyone may have written.

A ``.keras`` file is a zip of the network's configuration as JSON and its weights as HDF5. Everything is checked before
it is unpacked, and the network is built without memory for its weights until their number is known. Nothing in such a
file is executed: Keras's safe mode is one guard, and a list of the modules whose objects networks need is another.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import h5py

from tlkit.backbones.runtime import import_keras, silent_stderr
from tlkit.backbones.weights.hdf5_check import MAX_RATIO, SLACK, UnsafeFileError, check_hdf5
from tlkit.bounded import open_regular, parse_json, why_not_json
from tlkit.errors import TlkitError

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
MAX_FILE = 16 << 30  # bytes
MAX_CONFIG = 16 << 20  # bytes; NASNetLarge, the largest network of the catalogue, has one
MAX_METADATA = 1 << 20  # bytes
MAX_RATIO_CONFIG = 200  # JSON becomes much smaller by compression, but not by more than this
SAVE = "use a functional model saved with model.save('NAME.keras')"

_GRAPHS = ("Functional", "Model", "Sequential")
_MODULES = ("layers", "models", "ops", "initializers", "regularizers", "constraints", "dtype_policies", "random")
_APPLICATIONS = "keras.src.applications."
_OF_APPLICATIONS = {"convnext": ("LayerScale", "StochasticDepth"), "inception_resnet_v2": ("CustomScaleLayer",)}
"""Layers that Keras Applications define beside a network, by module."""
_FROM_EXPORT = ("tlkit.json", "labels.txt")  # what `tlkit export` adds to a file
_OPENS_FILES = frozenset(
    {
        *("TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper"),
        *("StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization"),
    }
)
_FUNCTIONS = frozenset(
    {
        *("celu", "elu", "exponential", "gelu", "glu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh"),
        *("leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu"),
        *("soft_shrink", "softmax", "softplus", "softsign", "sparsemax", "swish", "tanh"),
    }
)
BAD_FILE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,
    AttributeError,
    OverflowError,
    MemoryError,
)
"""What zipfile and h5py raise for a damaged file."""

Config = dict[str, Any]


@contextmanager
def open_weights(path: Path) -> Iterator[h5py.File]:
    """Open the weights in a ``.keras`` or HDF5 file, after checking them; its content decides, not its name.

    Raises:
        UnsafeFileError: It is refused.
        OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile: It cannot be read.
    """
    with open_regular(path, MAX_FILE) as opened:
        if zipfile.is_zipfile(opened):
            with zipfile.ZipFile(opened) as archive:
                content = _member(archive, WEIGHTS, MAX_FILE)
            source: IO[bytes] = io.BytesIO(content)
        else:
            source = opened
        with h5py.File(source, "r") as file:
            check_hdf5(file, source)
            yield file


def read_config(path: Path) -> Config:
    """Return the configuration in a ``.keras`` file, after checking all that is in the file.

    Raises:
        TlkitError: The file is damaged, is not what Keras writes, or needs code that Keras does not have.
    """
    return _checked(path)[0]


def load_model(path: Path) -> Any:
    """Return the network in a ``.keras`` file as a ``keras.Model``, not compiled.

    Raises:
        TlkitError: As for `read_config`, or Keras cannot load it, or the weights are not as many as the network's.
    """
    config, size = _checked(path)
    keras = import_keras()
    try:
        with silent_stderr():
            model = _built(keras, config, size)
            model.load_weights(path)
    except UnsafeFileError as error:
        raise TlkitError(f"cannot use '{path}': {error}", SAVE) from error
    except Exception as error:
        # Keras raises many kinds of exceptions for a bad file
        reason = " ".join(str(error).split())[:160]
        hint = "save it again with this version of Keras"
        raise TlkitError(f"Keras cannot load '{path}' in safe mode: {reason}", hint) from error
    return model


def _built(keras: Any, config: Config, size: int) -> Any:
    """Build a network whose weights have about ``size`` bytes; its variables have no memory until that is known."""
    scope = keras.StatelessScope(initialize_variables=False)
    try:
        with scope:
            model = keras.saving.deserialize_keras_object(config, safe_mode=True)
            wanted = 4 * int(model.count_params())
            if wanted > MAX_RATIO * size + SLACK:
                raise UnsafeFileError(f"its layers need {wanted:,} bytes of weights, and it holds {size:,}")
            scope.initialize_variables = True
    except BaseException:
        _forget_variables()
        raise
    return model


def _forget_variables() -> None:
    """Forget variables that were never given memory: the next scope to end would give it."""
    from keras.src.backend.common import global_state

    global_state.set_global_attribute("uninitialized_variables", [])


def _checked(path: Path) -> tuple[Config, int]:
    """Return the configuration in a ``.keras`` file, and the bytes of its weights."""
    try:
        with open_regular(path, MAX_FILE) as opened, zipfile.ZipFile(opened) as archive:
            _check_members(archive)
            config = parse_json(_member(archive, CONFIG, MAX_CONFIG))
            weights = _member(archive, WEIGHTS, MAX_FILE)
        source = io.BytesIO(weights)
        with h5py.File(source, "r") as file:
            size = check_hdf5(file, source)
    except UnsafeFileError as error:
        raise TlkitError(f"cannot use '{path}': {error}", SAVE) from error
    except BAD_FILE as error:
        reason = why_not_json(error) if isinstance(error, ValueError) else " ".join(str(error).split())[:120]
        raise TlkitError(f"'{path}' is damaged or not a .keras file: {reason}", SAVE) from error
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise TlkitError(f"'{path}' is not a Keras model: its {CONFIG} does not describe one", SAVE)
    _refuse_foreign(path, config)
    return config, size


def _check_members(archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    if missing := {CONFIG, WEIGHTS} - set(names):
        raise UnsafeFileError(f"it is not a Keras model: it has no {min(missing)}")
    if len(set(names)) != len(names):
        raise UnsafeFileError("it has a file twice in it")
    if odd := set(names) - {CONFIG, WEIGHTS, METADATA, *_FROM_EXPORT}:
        raise UnsafeFileError(f"it has a file in it that networks for images do not need: {min(odd)[:60]}")
    if METADATA in names:
        _member(archive, METADATA, MAX_METADATA)


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Return a member of an archive; its declared size, which is all that is ever unpacked, is checked before."""
    member = archive.getinfo(name)
    if member.file_size > min(limit, MAX_RATIO_CONFIG * member.compress_size + SLACK):
        raise UnsafeFileError(f"{name} in it would unpack to {member.file_size:,} bytes")
    return archive.read(member)


def _refuse_foreign(file: Path, config: Config) -> None:
    """Refuse models with objects that are not parts of Keras's networks: loading them would run foreign code."""
    kind, module = str(config.get("class_name")), str(config.get("module") or "")
    if kind not in _GRAPHS or module.partition(".")[0] != "keras":
        raise TlkitError(f"'{file}' holds a subclassed model ({kind[:60]}), and its code is not in the file", SAVE)
    for item in _objects(config):
        kind, module = str(item["class_name"])[:60], str(item.get("module") or "")[:60]
        registered = str(item.get("registered_name") or "")[:60]
        if kind in ("Lambda", "__lambda__"):
            hint = "replace it with a Keras layer such as Rescaling, and save the network again"
            raise TlkitError(f"'{file}' has a Lambda layer, which is code, and code in files is never executed", hint)
        if ">" in registered or module.partition(".")[0] not in ("", "keras", "builtins"):
            called = registered.rpartition(">")[2] or f"{module}.{kind}"
            raise TlkitError(f"'{file}' needs the custom object {called}", "only Keras's own layers can be used")
        if not _is_part_of_a_network(item, kind, module):
            called = str(item.get("config")) if kind == "function" else f"{module}.{kind}"
            hint = "only layers that compute with pixels can be used"
            raise TlkitError(f"'{file}' needs {called[:60]}, which networks for images do not", hint)
        if isinstance(item.get("config"), dict) and item["config"].get("data_format") == "channels_first":
            name = str(item["config"].get("name", kind))[:60]
            raise TlkitError(
                f"'{file}' uses channels first (layer {name})", "build it with data_format='channels_last'"
            )


def _is_part_of_a_network(item: Config, kind: str, module: str) -> bool:
    """Return whether a serialised object is a layer, an operation or a setting, and none that opens files."""
    if kind == "function":
        return item.get("config") in _FUNCTIONS if isinstance(item.get("config"), str) else False
    if module.startswith(_APPLICATIONS):
        return kind in _OF_APPLICATIONS.get(module.removeprefix(_APPLICATIONS), ())
    place = module.removeprefix("keras").removeprefix(".").removeprefix("src.").partition(".")[0]
    return kind not in _OPENS_FILES and (place in _MODULES or module in ("", "keras", "builtins"))


def _objects(value: Any) -> Iterator[Config]:
    """Yield every serialised object in a configuration, at any depth.

    How a model was trained (loss, optimizer) is removed: it is not needed, and may be the user's own code.
    """
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            item.pop("compile_config", None)
            if "class_name" in item and item["class_name"] != "__keras_tensor__":
                yield item
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
