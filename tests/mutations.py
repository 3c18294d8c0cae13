"""Damage to files that tlkit reads, as a stranger or a bad disk would do it: what they mean is known, so is changed."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from typing import Any

import h5py
import numpy as np

DEEP = "[" * 3000 + "]" * 3000
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2.5, -0.0, 10**30, -(10**400), 1e308, 4097, 100_000, float("nan"), float("inf")),
    *("", " ", "x", "x" * 5000, "\ud800", "é\u202e\x1b[31m", "a\nb", "../../etc/passwd", "/dev/zero", "CON", "\0"),
    *([], {}, [[]], [None], {"a": 1}, [1, 2, 3], ["a"] * 3000, {"": ""}, [[[[[[[[[[]]]]]]]]]]),
)


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Change a few bytes, and cut, drop or repeat a part at times."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(min(chance.choice((64, 1024, len(changed))), len(changed)))
        changed[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256), changed[place] ^ 1))
    start, end = sorted(chance.randrange(len(changed) + 1) for _ in range(2))
    kind = chance.randrange(10)
    if kind == 0:
        del changed[end:]
    elif kind == 1:
        del changed[start:end]
    elif kind == 2:
        changed[end:end] = changed[start:end][:100_000]
    return bytes(changed)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in plain data."""
    found: list[tuple[Any, Any]] = []
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict | list):
            keys = list(item) if isinstance(item, dict) else range(len(item))
            found.extend((item, key) for key in keys)
            todo.extend(item[key] for key in keys)
    return found


def changed_json(data: bytes, chance: random.Random) -> Any:
    """JSON with one to three values deleted, replaced, doubled, renamed or nested."""
    value = json.loads(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = _places(value)
        if not places:
            return value
        near = [place for place in places if place[0] is value] or places
        container, key = chance.choice(near if chance.random() < 0.6 else places)
        kind = chance.randrange(8)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            container[chance.choice(("", "x" * 300, str(key).upper(), "format", "../x"))] = container.pop(key)
        elif kind == 2 and isinstance(container, list):
            container.extend([container[key]] * chance.choice((1, 5000)))
        elif kind == 3 and isinstance(container[key], int | float):
            container[key] = chance.choice((-container[key], container[key] * 10**6, str(container[key]), -1))
        elif kind == 4:
            container[key] = [container[key]] if chance.random() < 0.5 else {"a": container[key]}
        else:
            container[key] = copy.deepcopy(chance.choice(ODD))
    return value


def mutated_json(data: bytes, chance: random.Random) -> bytes:
    """JSON whose values, syntax or bytes are changed."""
    kind = chance.randrange(10)
    if kind == 0:
        return flipped(data, chance)
    text = json.dumps(changed_json(data, chance))
    if kind == 1:
        comma = chance.choice([number for number, each in enumerate(text) if each in ",:"] or [0])
        text = (
            text[: comma + 1]
            + chance.choice((DEEP, "NaN, ", "1e999, ", '"a": 1, "a": 2, ', "9" * 6000 + ", ", ","))
            + (text[comma + 1 :])
        )
    return text.encode("utf-8", "surrogatepass")


def mutated_npy(data: bytes, chance: random.Random) -> bytes:
    """An array with another header or other values."""
    stream = io.BytesIO(data)
    array = np.lib.format.read_array(stream)
    kind = chance.randrange(8)
    if kind <= 2:
        shape = chance.choice(("(10000000000,)", "(-1,)", "()", "(1, 2, 3)", "(0,)", "(99999999, 99999999)", "(" * 200))
        typed = chance.choice(("'<f4'", "'|O'", "'<f8'", "'<U9'", "[('a', '<f4')]", "'<i8'", "'x'"))
        header = f"{{'descr': {typed}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data[-array.nbytes or len(data) :]
    if kind == 3:
        return flipped(data, chance)
    other = np.array(array)
    if kind == 4:
        other = other.astype(chance.choice(("<f8", "<i4", "<f2", "<c8", "|b1")))
    elif kind == 5:
        other = other.reshape(-1)[: chance.randrange(other.size + 1)]
    elif kind == 6 and other.size:
        place, value = chance.randrange(other.size), chance.choice((np.nan, np.inf, -1, 0))
        with np.errstate(invalid="ignore"):
            other.reshape(-1)[place] = np.float64(value).astype(other.dtype)
    else:
        other = (np.zeros_like(other) + np.int64(chance.choice((0, -1, 1)))).astype(other.dtype)
    out = io.BytesIO()
    np.lib.format.write_array(out, other)
    return out.getvalue()


def mutated_zip(data: bytes, chance: random.Random) -> bytes:
    """A zip whose members, or whose own structure, are changed."""
    if chance.randrange(5) == 0:
        return flipped(data, chance)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = chance.randrange(len(members))
    name, content = members[place]
    compression = zipfile.ZIP_STORED
    kind = chance.randrange(12)
    if kind == 0:
        del members[place]
    elif kind == 1:
        members.append((name, content))
    elif kind == 2:
        members[place] = (chance.choice(("../../evil", "/tmp/evil", "a/b", "", name.upper(), "x" * 300)), content)
    elif kind == 3:
        members[place] = (name, content + b" " * (40 << 20 if chance.randrange(8) == 0 else 5 << 20))
        compression = zipfile.ZIP_DEFLATED
    elif kind == 4:
        members.append((chance.choice(("assets/x", "model.weights.npz", "extra.npy")), b"x"))
    elif name.endswith(".npy"):
        members[place] = (name, mutated_npy(content, chance))
    elif name.endswith(".json"):
        members[place] = (name, mutated_json(content, chance))
    elif name.endswith(".h5"):
        members[place] = (name, mutated_h5(content, chance))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for each, inside in members:
            archive.writestr(zipfile.ZipInfo(each), inside, compress_type=compression)
    return out.getvalue()


def mutated_h5(data: bytes, chance: random.Random) -> bytes:
    """An HDF5 file that names other files, has loops, declares sizes that it has not, or has changed bytes."""
    if chance.randrange(3) == 0:
        return flipped(data, chance)
    memory = io.BytesIO(data)
    with h5py.File(memory, "r+") as file:
        found: list[str] = []
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        name = chance.choice(found)
        shape, kind = file[name].shape, chance.randrange(14)
        if kind < 10:
            values = file[name][()]
            del file[name]
        if kind == 0:
            file[name] = h5py.ExternalLink("/etc/passwd", "/x")
        elif kind == 1:
            file[name] = h5py.SoftLink(f"/{name}")
        elif kind == 2:
            file[name] = h5py.SoftLink(f"/{chance.choice(found)}")
        elif kind == 3:
            file.create_dataset(name, shape, "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
        elif kind == 4:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[...] = h5py.VirtualSource("/tmp/other.h5", "x", shape)
            file.create_virtual_dataset(name, layout)
        elif kind == 5:
            file.create_dataset(name, (1 << 40,), "f4")
        elif kind == 6:
            file.create_dataset(name, (1 << 28,), "f4", chunks=(1 << 20,), compression="gzip")
        elif kind == 7:
            file.create_dataset(name, shape, chance.choice(("f8", "i4", "S9", h5py.string_dtype())))
        elif kind == 8:
            file[name] = np.full(shape, np.nan, np.float32)
        elif kind == 9:
            file[name] = values.reshape(-1)
        elif kind == 10:
            file[name].parent["loop"] = file[name.split("/")[0]]
        elif kind == 11:
            file[name].parent.attrs["name"] = chance.choice((["x"] * 3000, "x" * 60_000, 5, np.zeros(3)))
        elif kind == 12:
            file.attrs["layer_names"] = chance.choice((["a", "b"], [b"a"], 7, "a", np.zeros((3, 3))))
        else:
            file.copy(name.split("/")[0], "again")
    return memory.getvalue()


def mutated_graph(data: bytes, chance: random.Random) -> bytes:
    """A network of LiteRT, well-formed, in which one to three numbers, constants or operators are changed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        _change_graph(model, chance)
    builder = flatbuffers.Builder(len(data) + (1 << 16))
    try:
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    except (TypeError, OverflowError, ValueError, struct.error):  # a number that does not fit its field
        return flipped(data, chance)
    return bytes(builder.Output())


NUMBERS = (-(2**31), -5, -1, 0, 1, 2, 3, 4, 7, 9, 64, 127, 255, 4096, 2**15, 2**24, 2**31 - 1)


def _change_graph(model: Any, chance: random.Random) -> None:
    graph = model.subgraphs[0]
    operator, tensor = chance.choice(graph.operators), chance.choice(graph.tensors)
    number = chance.choice(NUMBERS)
    index = chance.choice((number, chance.randrange(len(graph.tensors))))
    kind = chance.randrange(14)
    if kind <= 2 and operator.builtinOptions is not None:
        name = chance.choice([key for key, value in vars(operator.builtinOptions).items() if value is not None] or [""])
        if name and isinstance(vars(operator.builtinOptions)[name], int | float):
            setattr(operator.builtinOptions, name, number)
    elif kind == 3:
        operator.opcodeIndex = chance.randrange(len(model.operatorCodes) + 1)
    elif kind <= 5:
        numbers = list(chance.choice((operator.inputs, operator.outputs, graph.outputs, graph.inputs)))
        numbers[chance.randrange(len(numbers))] = index
        chance.choice((operator, operator, graph)).inputs = numbers
    elif kind == 6:
        operator.outputs = [index]
    elif kind == 7 and tensor.shape is not None and len(tensor.shape):
        shape = list(tensor.shape)
        shape[chance.randrange(len(shape))] = number
        tensor.shape = chance.choice((shape, shape[1:], [*shape, 1]))
        tensor.shapeSignature = chance.choice((tensor.shapeSignature, None, shape))
    elif kind == 8:
        tensor.type = chance.randrange(19)
    elif kind == 9:
        tensor.buffer = chance.randrange(len(model.buffers) + 1)
    elif kind <= 11:
        _change_constant(model, graph, chance, number)
    elif kind == 12:
        chance.choice(model.operatorCodes).builtinCode = chance.randrange(210)
    else:
        place = chance.randrange(len(graph.operators))
        other = chance.randrange(len(graph.operators))
        graph.operators[place], graph.operators[other] = graph.operators[other], graph.operators[place]


def _change_constant(model: Any, graph: Any, chance: random.Random, number: int) -> None:
    """Change a constant's length, or the integers in one that says axes, shapes or paddings."""
    whole = [each for each in graph.tensors if each.type == 2 and model.buffers[each.buffer].data is not None]
    if whole and chance.random() < 0.7:
        buffer = model.buffers[chance.choice(whole).buffer]
        values = np.frombuffer(bytes(buffer.data), "<i4").copy()
        values[chance.randrange(len(values))] = number
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        return
    buffer = chance.choice(model.buffers)
    if buffer.data is not None:
        buffer.data = chance.choice((buffer.data[:-4], buffer.data[: len(buffer.data) // 2], np.tile(buffer.data, 2)))
