"""Write a network as an ONNX file, and run one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import Forward
from tlkit.errors import TlkitError
from tlkit.formats.card import card_text
from tlkit.formats.lite_file import LiteFile, read_lite_file
from tlkit.formats.lite_shapes import with_known_shapes
from tlkit.formats.onnx_graph import FLOAT, OnnxGraph
from tlkit.formats.onnx_ood import add_ood_score
from tlkit.formats.onnx_operations import add_operation
from tlkit.formats.source import FP16, Source
from tlkit.images.batches import cpu_count
from tlkit.jsontext import json_text
from tlkit.linear.ood import OodStatistics

IMAGE, PROBABILITIES, OOD_SCORE = "image", "probabilities", "ood_score"
OPSET, IR = 18, 8  # understood by runtimes of 2023 and later
BATCH = 8  # images at a time
MAX_BYTES = (2 << 30) - (1 << 20)  # a file in protobuf's format cannot be larger


def write_onnx(path: Path, source: Source) -> None:
    """Write a network as an ONNX file, with any batch size and without TensorFlow.

    Its input is ``image``, float32 [n, height, width, 3] (RGB, 0..255); its first output ``probabilities``, float32
    [n, classes]. If the bundle can tell unknown images, its second output is ``ood_score``, float32 [n]: an image is
    unknown if its score is above ``unknown.threshold`` of the card.

    Args:
        path: The new file.
        source: What is written. With fp16 the weights are stored as float16, and cast back before they are used.

    Raises:
        TlkitError: The bundle has no ``model.tflite`` and none can be made, or the network has an operation that cannot
            be converted, or is too large.
        OSError: The file cannot be written.
    """
    data = source.lite_network if source.lite is None or source.ood is None else source.lite
    model = onnx_model(read_lite_file(data), source.card, half=source.precision == FP16, ood=source.ood)
    path.write_bytes(model.SerializeToString())


def onnx_model(file: LiteFile, card: Mapping[str, Any], *, half: bool = False, ood: OodStatistics | None = None) -> Any:
    """Return a network as an ``onnx.ModelProto``.

    Args:
        file: The network, from images to probabilities, and to features as a second output.
        card: What the file says of itself, as in `Source`.
        half: Store the weights as float16.
        ood: Statistics of the features; None: the file has no ``ood_score``.

    Raises:
        TlkitError: The network has an operation that cannot be converted, or is too large.
    """
    from onnx import helper

    file = with_known_shapes(file)
    graph = OnnxGraph(file, half=half)
    for operation in file.operations:
        add_operation(graph, operation)
    graph.node("Identity", [graph.last(file.outputs[0])], name=PROBABILITIES)
    outputs = [helper.make_tensor_value_info(PROBABILITIES, FLOAT, ["batch", *file.shapes[file.outputs[0]][1:]])]
    if ood is not None and len(file.outputs) > 1:
        add_ood_score(graph, graph.last(file.outputs[1]), ood)
        outputs.append(helper.make_tensor_value_info(OOD_SCORE, FLOAT, ["batch"]))
    if graph.bytes > MAX_BYTES:
        raise TlkitError(f"the network is too large for ONNX: {graph.bytes:,} bytes", "--precision fp16 takes half")
    image = helper.make_tensor_value_info(IMAGE, FLOAT, ["batch", *file.shapes[file.image][1:]])
    whole = helper.make_graph(graph.nodes, "tlkit", [image], outputs, graph.initializers)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tlkit")
    model.ir_version, model.producer_version = IR, str(card.get("tlkit", ""))
    helper.set_model_props(model, onnx_properties(card))
    return model


def onnx_properties(card: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of an ONNX file, texts by name; readers of image classifiers know the first three."""
    return {
        "names": str(dict(enumerate(card["classes"]))),
        "task": "classify",
        "imgsz": str(list(card["input"]["size"])),
        "labels": json_text(list(card["classes"])),
        "tlkit": card_text(card),
    }


def onnx_forward(path: Path) -> Forward:
    """Return an ONNX file as a function from uint8 [n, height, width, 3] to probabilities, float32 [n, classes]."""
    session = onnx_session(path)

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = [pixels[start : start + BATCH].astype(np.float32) for start in range(0, len(pixels), BATCH)]
        return np.concatenate([session.run([PROBABILITIES], {IMAGE: part})[0] for part in parts])

    return run


def onnx_session(model: Path | bytes) -> Any:
    """Return an ``onnxruntime.InferenceSession`` of a file or its content, on all cores and without messages."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # which its builds for Windows send
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = cpu_count(), 3
    content = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
