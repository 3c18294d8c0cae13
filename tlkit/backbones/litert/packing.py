"""LiteRT's file format as objects, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

_ALIGNMENT = 16  # bytes; required by the schema, and kernels may rely on it
_ROOM = 1 << 20  # bytes for everything but the weights


def schema_of_files() -> Any:
    """Return the module of the schema's classes."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def unpacked(data: bytes) -> Any:
    """Return a file as a ``ModelT``, with all weights inside; a quantiser may have put them behind the tables."""
    schema = schema_of_files()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for buffer in model.buffers:
        if buffer.offset > 1:  # 1 has no meaning yet
            buffer.data = np.frombuffer(data, dtype=np.uint8, count=buffer.size, offset=buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def packed(model: Any) -> bytes:
    """Return a ``ModelT`` as a file, with buffers aligned as the schema requires."""
    import flatbuffers

    schema = schema_of_files()
    model.buffers = [_aligned(schema, buffer) for buffer in model.buffers]
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + _ROOM)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _aligned(schema: Any, buffer: Any) -> Any:
    """Return the buffer with the alignment that the schema requires; the Python bindings align only to elements."""
    if buffer.data is None or not len(buffer.data):
        return buffer
    data = np.asarray(buffer.data, dtype=np.uint8).tobytes()

    class Aligned(schema.BufferT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> Any:  # noqa: N802  (the bindings' name)
            builder.StartVector(1, len(data), _ALIGNMENT)
            builder.head = builder.Head() - len(data)
            builder.Bytes[builder.Head() : builder.Head() + len(data)] = data
            place = builder.EndVector()
            schema.BufferStart(builder)
            schema.BufferAddData(builder, place)
            return schema.BufferEnd(builder)

    aligned = Aligned()
    aligned.data = buffer.data
    return aligned
