"""The reader of PyTorch's legacy format, on files written here byte by byte."""

import pickle
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from conftest import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlkit.backbones.weights.torch_legacy import read_state_dict
from tlkit.errors import TlkitError

MAGIC = 0x1950A86A20F9469CFC6C
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Global(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    function: object
    arguments: object


class PersistentId(NamedTuple):
    pid: object


class Raw(NamedTuple):
    opcodes: bytes


ORDERED_DICT = Global("collections", "OrderedDict")
REBUILD = Global("torch._utils", "_rebuild_tensor_v2")


def opcodes(value):
    """The pickle opcodes that push a value; written out because pickle would import torch to name it."""
    match value:
        case Raw(raw):
            return raw
        case Global(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(function, arguments):
            return opcodes(function) + opcodes(arguments) + b"R"
        case PersistentId(pid):
            return opcodes(pid) + b"Q"
        case dict():
            pairs = b"".join(opcodes(k) + opcodes(v) for k, v in value.items())
            return opcodes(Call(ORDERED_DICT, ())) + b"(" + pairs + b"u"
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case _:
            return pickle.dumps(value, 2)[2:-1]


def storage(kind="FloatStorage", key="1", length=24, view=None, typename="storage", location="cpu"):
    return PersistentId((typename, Global("torch", kind), key, location, length, view))


def tensor(store=None, offset=0, size=(2, 3, 4), stride=(12, 4, 1)):
    hooks = Call(ORDERED_DICT, ())
    return Call(REBUILD, (storage() if store is None else store, offset, size, stride, False, hooks))


def storage_bytes(values):
    return struct.pack("<q", values.size) + values.tobytes()


VALUES = np.arange(24, dtype="<f4")


def legacy(state, storages=None, keys=None, magic=MAGIC, version=1001, machine=MACHINE, tail=b""):
    storages = {"1": VALUES} if storages is None else storages
    parts = [pickle.dumps(part, 2) for part in (magic, version, machine)]
    parts.append(b"\x80\x02" + opcodes(state) + b".")
    parts.append(pickle.dumps(list(storages) if keys is None else keys, 2))
    return b"".join([*parts, *map(storage_bytes, storages.values()), tail])


@pytest.fixture
def read(tmp_path):
    def read(data):
        path = tmp_path / "weights.pth"
        path.write_bytes(data)
        return read_state_dict(path)

    return read


def test_contiguous(read):
    arrays = read(legacy({"b": tensor(), "a": tensor(size=(24,), stride=(1,))}))
    assert list(arrays) == ["b", "a"]
    assert arrays["b"].dtype == np.float32
    np.testing.assert_array_equal(arrays["b"], VALUES.reshape(2, 3, 4))


def test_strides_and_offset_are_honoured(read):
    arrays = read(
        legacy(
            {
                "transposed": tensor(size=(4, 3, 2), stride=(1, 4, 12)),
                "offset": tensor(offset=5, size=(2, 2), stride=(10, 3)),
                "last": tensor(offset=23, size=(), stride=()),
                "repeated": tensor(offset=3, size=(2, 2), stride=(0, 1)),
                "empty": tensor(size=(0, 3), stride=(3, 1)),
            }
        )
    )
    np.testing.assert_array_equal(arrays["transposed"], VALUES.reshape(2, 3, 4).T)
    np.testing.assert_array_equal(arrays["offset"], [[5, 8], [15, 18]])
    assert arrays["last"].shape == ()
    assert arrays["last"] == 23
    np.testing.assert_array_equal(arrays["repeated"], [[3, 4], [3, 4]])
    assert arrays["empty"].shape == (0, 3)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "<f8"),
        ("FloatStorage", "<f4"),
        ("HalfStorage", "<f2"),
        ("LongStorage", "<i8"),
        ("IntStorage", "<i4"),
        ("ShortStorage", "<i2"),
        ("CharStorage", "i1"),
        ("ByteStorage", "u1"),
        ("BoolStorage", "?"),
    ],
)
def test_every_dtype_and_several_storages(read, kind, dtype):
    values = np.array([0, 1, 1, 0, 1], dtype)
    state = {"x": tensor(storage(kind, "7", 5), size=(5,), stride=(1,)), "y": tensor()}
    arrays = read(legacy(state, {"7": values, "1": VALUES}))
    assert arrays["x"].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(arrays["x"], values)
    np.testing.assert_array_equal(arrays["y"], VALUES.reshape(2, 3, 4))
    assert arrays["x"].flags.aligned


def test_shared_storage_and_attributes_of_the_dict(read):
    # PyTorch hangs a _metadata attribute on the dict, with BUILD.
    state = Raw(opcodes({"x": tensor(), "y": tensor()}) + opcodes({"_metadata": 1, "items": 2}) + b"b")
    arrays = read(legacy(state))
    assert np.shares_memory(arrays["x"], arrays["y"])


def test_arguments_in_the_newest_pickle_protocol(read):
    # STACK_GLOBAL, MEMOIZE and FRAME in the place of GLOBAL and BINPUT.
    pid = ("storage", Raw(b"\x8c\x05torch\x8c\x0cFloatStorage\x93\x94"), "1", "cpu", 24, None)
    data = legacy({"x": tensor(PersistentId(pid))})
    np.testing.assert_array_equal(read(data)["x"], VALUES.reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("collections", "Counter"),
        ("torch", "BFloat16Storage"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_parameter"),
        ("numpy", "FloatStorage"),
        ("tlkit.backbones.weights.torch_legacy", "_Tensor"),
    ],
)
@pytest.mark.parametrize("stack", [False, True])
def test_every_other_global_is_refused_by_name(read, module, name, stack):
    pushed = Global(module, name)
    if stack:
        pushed = Raw(b"".join(b"\x8c" + bytes([len(s)]) + s.encode() for s in pushed) + b"\x93")
    with pytest.raises(TlkitError, match=f"{module}\\.{name}"):
        read(legacy({"x": pushed}))


def test_nothing_is_executed(read, tmp_path):
    folder = tmp_path / "made"
    for part in (
        {"x": Call(Global("os", "mkdir"), (str(folder),))},
        Call(Global("os", "mkdir"), (str(folder),)),
    ):
        with pytest.raises(TlkitError, match=r"os\.mkdir"):
            read(legacy(part))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"(ios\nsystem\n", "INST"),
        (b"(cos\nsystem\no", "OBJ"),
        (b")\x81", "NEWOBJ"),
        (b"\x82\x01", "EXT1"),
        (b"Pid\n", "PERSID"),
        (b"I1\n", "INT"),
        (b"r\xff\xff\xff\x7f", "too large"),
        (b"N0" * 30_000, "POP"),
        (b"\x88" * 50_000, "too large"),
    ],
)
def test_opcodes_that_weights_do_not_need(read, raw, name):
    with pytest.raises(TlkitError, match=name):
        read(legacy(Raw(b"N" + raw)))


@pytest.mark.parametrize(
    "store",
    [
        storage(typename="module"),
        storage(view=("2", 0, 1)),
        storage(length=-1),
        storage(length=True),
        storage(length=2**70),
        storage(length="24"),
        storage(key=1),
        storage(location=None),
        PersistentId("storage"),
        PersistentId(("storage", "FloatStorage", "1", "cpu", 24, None)),
        PersistentId(("storage", ORDERED_DICT, "1", "cpu", 24, None)),
        PersistentId(("storage", Global("torch", "FloatStorage"), "1", "cpu", 24)),
        PersistentId((Global("torch", "FloatStorage"),) * 6),
        Raw(b"N"),
    ],
    ids=range(14),
)
def test_persistent_ids_are_checked(read, store):
    with pytest.raises(TlkitError):
        read(legacy({"x": tensor(store)}))


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (1, (2, 3, 4), (12, 4, 1)),
        (0, (25,), (1,)),
        (24, (), ()),
        (0, (2,), (24,)),
        (-1, (2,), (1,)),
        (23, (2,), (-1,)),
        (0, (-2,), (1,)),
        (0, (2, 2), (1,)),
        (0, (2**62, 2**62), (1, 1)),
        (0, (2,), (2**62,)),
        (0, (2**40, 2**40), (0, 0)),
        (0, (0, 2**62, 2**62), (0, 0, 0)),
        (0, (1,) * 9, (1,) * 9),
        (0, (True,), (1,)),
        (0, (2.0,), (1,)),
        ("0", (2,), (1,)),
        (0, 24, 1),
    ],
)
def test_a_view_must_stay_in_its_storage(read, offset, size, stride):
    with pytest.raises(TlkitError):
        read(legacy({"x": tensor(offset=offset, size=size, stride=stride)}))


STATE = {"x": tensor()}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"PK\x03\x04rest", "zip format"),
        (b"not weights at all", "opcode|damaged"),
        (legacy(STATE, magic=1), "legacy format"),
        (legacy(STATE, magic=[MAGIC]), "legacy format"),
        (legacy(STATE, version=1002), "version"),
        (legacy(STATE, machine={"little_endian": False}), "little-endian"),
        (legacy(STATE, machine=[]), "little-endian"),
        (legacy([1], {}), "state dict"),
        (legacy(tensor()), "state dict"),
        (legacy({"x": 1}), "tensors"),
        (legacy({1: tensor()}), "tensors"),
        (legacy({"x": storage()}), "tensors"),
        (legacy({"state_dict": STATE}), "tensors"),
        (legacy(STATE, keys=[]), "list of storages"),
        (legacy(STATE, keys=["2"]), "list of storages"),
        (legacy(STATE, keys=["1", "1"]), "list of storages"),
        (legacy(STATE, keys="1"), "list of storages"),
        (legacy(STATE, keys=[["1"]]), "list of storages"),
        (legacy(STATE, {"1": VALUES[:23]}), "truncated"),
        (legacy(STATE, {"1": VALUES[:23]}, tail=b"\0\0\0\0"), "size of a storage"),
        (legacy(STATE, tail=b"\0"), "after its last"),
        (legacy({"x": tensor(), "y": tensor(storage(length=25))}), "same key"),
        (legacy({"x": tensor(), "y": tensor(storage("IntStorage"))}), "same key"),
        (
            legacy(
                {"x": tensor(storage("BoolStorage", length=2), size=(2,), stride=(1,))},
                {"1": np.array([0, 2], np.uint8)},
            ),
            "booleans",
        ),
        (legacy(Raw(opcodes(ORDERED_DICT) + opcodes({"keys": 1}) + b"b")), "damaged"),
        (legacy({"x": Raw(opcodes(REBUILD) + b"N" + opcodes({"__doc__": "x"}) + b"\x86b")}), "damaged"),
        (legacy(Call(ORDERED_DICT, (1,))), "damaged"),
        (legacy({"x": Call(REBUILD, ())}), "damaged"),
    ],
)
def test_damaged_files_are_refused_with_the_reason(read, data, reason):
    with pytest.raises(TlkitError, match=reason) as caught:
        read(data)
    assert "weights.pth" in caught.value.message
    assert caught.value.message[0].islower()
    assert not caught.value.message.endswith(".")
    assert caught.value.hint


def test_deep_nesting_does_not_overflow_a_small_stack(read):
    def nested(depth):
        return legacy({Raw(b")" + b"\x85" * depth): tensor()})

    with pytest.raises(TlkitError, match="too large"):
        read(nested(5_001))
    # Hashing nested tuples recurses in C; this many must do, in the smallest stack a platform gives a thread.
    before = threading.stack_size(512 * 1024)
    try:
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(read, nested(4_900)).exception()
    finally:
        threading.stack_size(before)
    assert isinstance(error, TlkitError)
    assert "tensors" in error.message


def test_missing_file(tmp_path):
    with pytest.raises(TlkitError, match="cannot read"):
        read_state_dict(tmp_path / "none.pth")


def test_truncated_anywhere(read):
    whole = legacy({"x": tensor(), "y": tensor(storage(key="2"))}, {"1": VALUES, "2": VALUES})
    assert len(read(whole)) == 2
    for length in range(len(whole)):
        with pytest.raises(TlkitError):
            read(whole[:length])


WHOLE = legacy(
    {
        "x": tensor(size=(4, 3, 2), stride=(1, 4, 12)),
        "y": tensor(storage("LongStorage", "2", 3), size=(3,), stride=(1,)),
    },
    {"1": VALUES, "2": np.arange(3)},
)
FUZZ = settings(
    max_examples=examples(8),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def arrays_or_error(read, data):
    try:
        arrays = read(data)
    except TlkitError:
        return
    for name, array in arrays.items():
        assert isinstance(name, str)
        assert len(array.tobytes()) == array.nbytes


@FUZZ
@given(edits=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(max_size=4)), min_size=1, max_size=4))
def test_corruption_gives_arrays_or_an_error(read, edits):
    data = bytearray(WHOLE)
    for position, replacement in edits:
        data[position : position + max(1, len(replacement))] = replacement
    arrays_or_error(read, bytes(data))


@FUZZ
@given(start=st.sampled_from([b"", WHOLE[:60], WHOLE[:250]]), data=st.binary(max_size=200))
def test_arbitrary_bytes_give_arrays_or_an_error(read, start, data):
    arrays_or_error(read, start + data)
