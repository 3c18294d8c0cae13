"""Convert networks to LiteRT's format and keep them on disk, each in a folder that is written atomically."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.backbones.runtime import import_tensorflow, silent_stderr
from tlkit.store.bound import cache_folder, remove_entry
from tlkit.store.marker import GRAPH, NOTE, make_entry, unfinished

FORMAT = 1
SECTION = "networks"


@dataclass(frozen=True)
class Conversion:
    """A backbone in LiteRT's format.

    Attributes:
        taps: (name, width) of the blocks of its output.
        graph: The file: float32 [n, h, w, 3] (RGB, 0..255) to float32 [n, columns].
        partial_note: Note for the user if a weights file filled only a part of the network, else "".
    """

    taps: tuple[tuple[str, int], ...]
    graph: bytes
    partial_note: str = ""


def convert(model: Any) -> bytes:
    """Convert a functional ``keras.Model`` with one image input to a LiteRT file; takes some seconds.

    Args:
        model: float32 [n, h, w, 3] to float32 [n, columns].

    Raises:
        Exception: The converter does not support an operation; it has no exception of its own.
    """
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    @tf.function(input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, name="image")])
    def run(image):  # type: ignore[no-untyped-def]
        return {"features": model(image, training=False)}

    with silent_stderr():
        constant = convert_variables_to_constants_v2(run.get_concrete_function())
        return bytes(tf.lite.TFLiteConverter.from_concrete_functions([constant]).convert())


def find(backbone: str, weights_hash: str, input_size: int) -> Conversion | None:
    """Return a stored conversion; None if there is none or it is damaged."""
    folder = _folder(backbone, weights_hash, input_size)
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        graph = (folder / GRAPH).read_bytes()
        if note["sha256"] != hashlib.sha256(graph).hexdigest():
            raise ValueError("damaged")
        taps = tuple((str(name), int(width)) for name, width in note["taps"])
        found = Conversion(taps, graph, str(note.get("filling", "")))
    except OSError:  # missing, or not readable at the moment
        return None
    except (ValueError, KeyError, TypeError):
        remove_entry(folder)
        return None
    with contextlib.suppress(OSError):  # a read-only cache is fine too
        make_entry(folder)  # marks an entry from before there were markers
        os.utime(folder)  # records the use: the cache removes the least recently used
    return found


def keep(backbone: str, weights_hash: str, input_size: int, conversion: Conversion) -> None:
    """Store a conversion; if the cache cannot be written, the next run converts again."""
    folder = _folder(backbone, weights_hash, input_size)
    note = {
        "backbone": backbone,
        "weights": weights_hash,
        "input_size": input_size,
        "filling": conversion.partial_note,
        "taps": [list(tap) for tap in conversion.taps],
        "sha256": hashlib.sha256(conversion.graph).hexdigest(),
    }
    with contextlib.suppress(OSError):  # also if another process was first
        part = unfinished(folder)
        try:
            make_entry(folder, part)
            (part / GRAPH).write_bytes(conversion.graph)
            (part / NOTE).write_text(json.dumps(note, indent=1), encoding="utf-8")
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _folder(backbone: str, weights_hash: str, input_size: int) -> Path:
    text = json.dumps([FORMAT, backbone, weights_hash, input_size])
    return cache_folder() / SECTION / f"{backbone}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
