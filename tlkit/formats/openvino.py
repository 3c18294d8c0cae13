"""Write a network for OpenVINO, and run one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import Forward
from tlkit.formats.card import card_text, labels_bytes
from tlkit.formats.source import FP16, Source

XML = "model.xml"


def write_openvino(folder: Path, source: Source) -> None:
    """Write ``model.xml`` and ``model.bin`` into a new folder; labels and card are in the model's runtime information.

    The LiteRT file is read by OpenVINO's core: its Python converter would report its use over the network.

    Raises:
        TlkitError: The bundle has no ``model.tflite``.
    """
    network = source.lite_network
    import openvino

    folder.mkdir()
    lite = folder / "model.tflite"
    lite.write_bytes(network)
    try:
        model = openvino.Core().read_model(lite)
    finally:
        lite.unlink()
    model.inputs[0].get_tensor().set_names({"image"})
    model.outputs[0].get_tensor().set_names({"probabilities"})
    about = {
        "task_type": "classification",
        "labels": _labels(source),
        "tlkit": card_text(source.card),
    }
    for name, value in about.items():
        model.set_rt_info(value, ["model_info", name])
    openvino.save_model(model, folder / XML, compress_to_fp16=source.precision == FP16)


def openvino_forward(folder: Path) -> Forward:
    """Return a written network as a function from uint8 [n, h, w, 3] to probabilities, float32 [n, classes]."""
    import openvino

    # a processor with bfloat16 would use it unasked
    network = openvino.Core().compile_model(folder / XML, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate([network(image[None].astype(np.float32))[0] for image in pixels])

    return run


def _labels(source: Source) -> str:
    """Return the class names as OpenVINO's tools read them: one word each. The card has them as they are."""
    names = labels_bytes(source.classes).decode().splitlines()
    return " ".join("".join(each if each.isprintable() else "_" for each in name.replace(" ", "_")) for name in names)
