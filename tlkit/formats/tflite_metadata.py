"""TFLite metadata: what a network in LiteRT's format says of itself, as MediaPipe and other readers expect it.

The network gets a buffer named ``TFLITE_METADATA``, which describes its input and output. Its labels and its card lie
in a zip archive behind the network: readers of the network pass over it, and any tool opens it as a zip file. The
numbers of tables, fields and choices are those of MediaPipe's ``metadata_schema.fbs``. Its own writer needs packages
that have no releases any more.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.backbones.litert.packing import packed, schema_of_files, unpacked
from tlkit.formats.card import CARD, LABELS, card_text, labels_bytes

_NAME = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER = "1.0.0"  # the oldest reader that understands all of it
_WRITTEN = (1980, 1, 1, 0, 0, 0)  # the same network gives the same file
_OFFSET, _BYTE, _UNION, _UINT = "UOffsetTRelative", "Int8", "Uint8", "Uint32"  # how a field is stored
_LABELS_OF_AN_AXIS, _DESCRIPTION = 2, 1  # kinds of files
_RGB = 1
_FEATURE, _IMAGE = 1, 2  # contents of a tensor
_NORMALIZATION = 1

_Field = tuple[str, int]  # how it is stored; its value, or where that lies


class _Tables:
    """Tables of a flatbuffer, written from the innermost to the outermost."""

    def __init__(self) -> None:
        import flatbuffers

        self._builder = flatbuffers.Builder(1024)

    def text(self, value: str) -> _Field:
        return _OFFSET, self._builder.CreateString(value)

    def floats(self, values: Sequence[float]) -> _Field:
        return _OFFSET, self._builder.CreateNumpyVector(np.array(values, dtype=np.float32))

    def vector(self, parts: Sequence[_Field]) -> _Field:
        self._builder.StartVector(4, len(parts), 4)
        for _, place in reversed(parts):
            self._builder.PrependUOffsetTRelative(place)
        return _OFFSET, self._builder.EndVector()

    def table(self, fields: Mapping[int, _Field]) -> _Field:
        """Write a table from its fields by their number."""
        self._builder.StartObject(max(fields, default=-1) + 1)
        for number, (kind, value) in fields.items():
            getattr(self._builder, f"Prepend{kind}Slot")(number, value, 0)
        return _OFFSET, self._builder.EndObject()

    def file(self, name: str, description: str, kind: int) -> _Field:
        return self.table({0: self.text(name), 1: self.text(description), 2: (_BYTE, kind)})

    def finish(self, fields: Mapping[int, _Field]) -> bytes:
        self._builder.Finish(self.table(fields)[1], file_identifier=_IDENTIFIER)
        return bytes(self._builder.Output())


def with_metadata(network: bytes, card: Mapping[str, Any]) -> bytes:
    """Return a network with one image input and one output of probabilities, with its metadata.

    Args:
        network: A file in LiteRT's format, quantised or not, without metadata.
        card: From `tlkit.formats.card.make_card`.
    """
    model, schema = unpacked(network), schema_of_files()
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(_described(card), dtype=np.uint8)
    entry.name, entry.buffer = _NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return _with_files(packed(model), {LABELS: labels_bytes(card["classes"]), CARD: card_text(card).encode()})


def _with_files(network: bytes, files: Mapping[str, bytes]) -> bytes:
    """Append an archive whose entries are stored: MediaPipe reads them in place."""
    memory = io.BytesIO(network)
    with zipfile.ZipFile(memory, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _WRITTEN), content)
    return memory.getvalue()


def _described(card: Mapping[str, Any]) -> bytes:
    """Return the metadata: a flatbuffer of its own inside the network's."""
    tables = _Tables()
    (height, width), taken = card["input"]["size"], card["input"]
    size = tables.table({0: (_UINT, width), 1: (_UINT, height)})
    properties = tables.table({0: (_BYTE, _RGB), 1: size})
    normalization = tables.table({0: tables.floats([0.0]), 1: tables.floats([1.0])})
    image = tables.table(
        {
            0: tables.text("image"),
            1: tables.text(f"RGB, 0 to 255, {height} x {width} pixels. {taken['resize']}"),
            3: tables.table({0: (_UNION, _IMAGE), 1: properties}),
            4: tables.vector([tables.table({0: (_UNION, _NORMALIZATION), 1: normalization})]),
            5: tables.table({0: tables.floats([255.0]), 1: tables.floats([0.0])}),
        }
    )
    probabilities = tables.table(
        {
            0: tables.text("probabilities"),
            1: tables.text("The probability of each class."),
            3: tables.table({0: (_UNION, _FEATURE), 1: tables.table({})}),
            5: tables.table({0: tables.floats([1.0]), 1: tables.floats([0.0])}),
            6: tables.vector([tables.file(LABELS, "The name of each class, one a line.", _LABELS_OF_AN_AXIS)]),
        }
    )
    graph = tables.table({2: tables.vector([image]), 3: tables.vector([probabilities])})
    return tables.finish(
        {
            0: tables.text("tlkit image classifier"),
            1: tables.text(f"Tells {len(card['classes'])} classes apart."),
            2: tables.text(str(card["tlkit"])),
            3: tables.vector([graph]),
            6: tables.vector([tables.file(CARD, "Where the network comes from, and how to use it.", _DESCRIPTION)]),
            7: tables.text(_PARSER),
        }
    )
