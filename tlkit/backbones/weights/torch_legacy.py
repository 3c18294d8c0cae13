"""Read weights from PyTorch's legacy (non-zip) file format, without PyTorch and without executing code in the file.

Such a file has five pickles (magic number, protocol version, properties of the machine, the state dict, the list of
storage keys) and then, for each storage, an int64 element count and the raw little-endian values. A tensor is a view of
a storage: offset, size and stride, all counted in elements.

A pickle is a program, so this reader is as restrictive as possible: it allows only the opcodes that PyTorch writes and
only the globals listed here, which it maps to passive records of this module. The file cannot choose what is called,
and every number is checked before use.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from tlkit.errors import TlkitError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
# EfficientNet-Lite2 needs 13,931 opcodes, 1,416 of them for tuples. Python hashes nested tuples recursively without a
# limit: too many would overflow the stack.
_MAX_OPCODES = 40_000
_MAX_TUPLES = 5_000
_MAX_DIMENSIONS = 8
# fmt: off
_OPCODES = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1",
    "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT",
    "MEMOIZE", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPERSID",
})
# fmt: on
_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
# Exceptions that a malformed pickle can cause in the unpickler; any other would be a bug in this module.
_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class _StorageType(NamedTuple):
    dtype: str


class _Storage(NamedTuple):
    key: str
    dtype: str
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _StateDict(dict[Any, Any]):
    """Replaces ``OrderedDict``, without the attributes that PyTorch adds to it (``_metadata``)."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Ignore the attributes."""


class _Rebuild:
    """Replaces ``torch._utils._rebuild_tensor_v2``; without slots, a pickle could set attributes on it."""

    __slots__ = ()

    def __call__(
        self,
        storage: object,
        offset: object,
        size: object,
        stride: object,
        _grad: object,
        _hooks: object,
    ) -> _Tensor:
        """Check the arguments and record them; the values come after the pickles and are read later."""
        if not isinstance(storage, _Storage):
            _refuse("a tensor has no storage")
        if not isinstance(size, tuple) or not isinstance(stride, tuple):
            _refuse("a tensor's size or stride is not a tuple")
        if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
            _refuse("a tensor's size and stride do not match")
        tensor = _Tensor(storage, _count(offset), tuple(_count(n) for n in size), tuple(_count(n) for n in stride))
        if 0 not in tensor.size:
            steps = (n - 1 for n in tensor.size)
            last = tensor.offset + sum(n * step for n, step in zip(steps, tensor.stride, strict=True))
            if last >= storage.length:
                _refuse("a tensor reaches outside its storage")
        return tensor


class _Unpickler(pickle.Unpickler):
    """An unpickler that allows three kinds of globals and one kind of persistent id."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Map the globals of a state dict to those of this module; refuse all others."""
        if (module, name) == ("collections", "OrderedDict"):
            return _StateDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Rebuild()
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        return _refuse(f"it uses {f'{module}.{name}'[:100]!r}, which weights do not need")

    def persistent_load(self, pid: Any) -> _Storage:
        """Turn ``("storage", type, key, location, length, None)`` into a record of that storage."""
        if not isinstance(pid, tuple) or len(pid) != 6 or not isinstance(pid[0], str) or pid[0] != "storage":
            _refuse("a persistent id does not name a storage")
        _, kind, key, location, length, view = pid
        if not isinstance(kind, _StorageType) or not isinstance(key, str) or not isinstance(location, str):
            _refuse("a storage's type, key or location is invalid")
        if view is not None:
            _refuse("a storage is a view of another")
        storage = _Storage(key, kind.dtype, _count(length))
        if self.storages.setdefault(key, storage) != storage:
            _refuse("two storages have the same key")
        return storage


def read_state_dict(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a PyTorch state dict saved in the legacy format.

    Args:
        path: The file, as ``torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)``
            or PyTorch before 1.6 writes it.

    Returns:
        Array by name, in the file's order, with the tensor's shape and dtype (float16/32/64, int8/16/32/64, uint8 or
        bool). Strides are kept as saved, so an array need not be contiguous; arrays that shared a storage share memory.

    Raises:
        TlkitError: The file cannot be read, has another format, is truncated or damaged, or holds anything but plain
            tensors. Nothing in it was executed.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise TlkitError(f"cannot read the weight file {path}: {error.strerror or error}") from None
    try:
        return _read(data)
    except TlkitError as error:
        raise TlkitError(f"cannot use the weight file {path}: {error.message}", error.hint) from None


def _read(data: bytes) -> dict[str, NDArray[Any]]:
    if data.startswith(b"PK"):
        _refuse("it has PyTorch's newer zip format; only the legacy format can be read")
    magic, _, position = _load(data, 0)
    if not _is_int(magic, _MAGIC):
        _refuse("it does not have PyTorch's legacy format")
    version, _, position = _load(data, position)
    if not _is_int(version, _PROTOCOL):
        _refuse(f"its protocol version is not {_PROTOCOL}")
    machine, _, position = _load(data, position)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        _refuse("it was not written on a little-endian machine")
    state, storages, position = _load(data, position)
    keys, _, position = _load(data, position)
    values = _read_storages(data, position, keys, storages)
    if not isinstance(state, dict):
        _refuse("it does not hold a state dict")
    arrays = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            _refuse("its state dict does not hold only tensors")
        arrays[name] = _view(values[tensor.storage.key], tensor)
    return arrays


def _load(data: bytes, start: int) -> tuple[Any, dict[str, _Storage], int]:
    """Load the pickle at ``start``; return its value, the storages it names, and the position after its end."""
    try:
        end = _check_opcodes(data, start)
        unpickler = _Unpickler(data[start:end])
        return unpickler.load(), unpickler.storages, end
    except _PICKLE_ERRORS:
        _refuse("it is truncated or damaged")


def _check_opcodes(data: bytes, start: int) -> int:
    """Check the opcodes of a pickle without running it; return the position after its end."""
    stream = io.BytesIO(data)
    stream.seek(start)
    tuples = 0
    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name not in _OPCODES:
            _refuse(f"its pickle uses the opcode {opcode.name}, which weights do not need")
        tuples += opcode.name.startswith("TUPLE")
        if number >= _MAX_OPCODES or tuples > _MAX_TUPLES:
            _refuse("its pickle is too large")
        # The unpickler's memo grows to the given index: one opcode could take gigabytes.
        if opcode.name.endswith("BINPUT") and int(argument or 0) > _MAX_OPCODES:
            _refuse("its pickle is too large")
    return stream.tell()


def _read_storages(data: bytes, position: int, keys: object, storages: dict[str, _Storage]) -> dict[str, NDArray[Any]]:
    """Read the raw values after the pickles; one flat array per storage key."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        _refuse("its list of storages is invalid")
    if len(set(keys)) != len(keys) or set(keys) != set(storages):
        _refuse("its list of storages does not match its tensors")
    values = {}
    for key in keys:
        storage = storages[key]
        dtype = np.dtype(storage.dtype)
        start = position + 8
        position = start + storage.length * dtype.itemsize
        if position > len(data):
            _refuse("it is truncated")
        if int.from_bytes(data[start - 8 : start], "little", signed=True) != storage.length:
            _refuse("the size of a storage does not match its tensors")
        if storage.dtype == "|b1" and max(data[start:position], default=0) > 1:
            _refuse("a storage of booleans holds other values")
        # Copied, because the values may be at any address here, and arrays should be aligned.
        values[key] = np.frombuffer(data, dtype, storage.length, start).copy()
    if position != len(data):
        _refuse("it has data after its last storage")
    return values


def _view(values: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    step = values.itemsize
    try:
        if 0 in tensor.size:
            return np.zeros(tensor.size, values.dtype)
        strides = tuple(stride * step for stride in tensor.stride)
        # Not as_strided: this constructor checks once more that the view stays inside its buffer.
        view: NDArray[Any] = np.ndarray(tensor.size, values.dtype, values, tensor.offset * step, strides)
        return view
    except (MemoryError, OverflowError, ValueError):
        _refuse("a tensor has an impossible shape")


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= sys.maxsize:
        _refuse("a size, stride or offset is not a valid number")
    return value


def _is_int(value: object, wanted: int) -> bool:
    return isinstance(value, int) and value == wanted


def _refuse(reason: str) -> NoReturn:
    raise TlkitError(reason, "get a new copy of the file from its source")
