"""What fewer bits cost a network in LiteRT's format, one JSON line a bundle and way; resumes.

    python benchmarks/litert_precisions.py BUNDLE CALIBRATION IMAGES --table litert_precisions.jsonl

CALIBRATION and IMAGES are folders that the bundle was not trained on, without common images. Every way is compared with
the float32 network on IMAGES; where these are in folders of the bundle's classes, the accuracy is too. Times are of one
image on one thread, the least of 30 runs, in turns with float32.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import algorithm_manager, qtyping, quantizer
from measure import machine
from numpy.typing import NDArray

from tlkit.backbones.engines import LiteRTNetwork
from tlkit.backbones.litert.graph import Graph
from tlkit.bundle.load import Bundle, load
from tlkit.evaluation.paired import paired
from tlkit.formats import quantise
from tlkit.images.batches import load_images
from tlkit.images.folder import ImageFolder, scan

KINDS, NAMES = qtyping.TFLOperationName, algorithm_manager.AlgorithmName
Pixels = NDArray[np.uint8]
Way = Callable[[bytes, Pixels], bytes]


def in_all(add: Callable[[Any], None], calibration: Pixels | None, network: bytes) -> bytes:
    """The quantizer's own recipe, on all operations."""
    tool = quantizer.Quantizer(bytearray(network))
    add(tool)
    samples = [] if calibration is None else [{"image": each[None].astype(np.float32)} for each in calibration]
    ranges = tool.calibrate({"serving_default": samples}) if tool.need_calibration else None
    return bytes(tool.quantize(ranges, enable_progress_report=False).quantized_model)


def dynamic(network: bytes, _: Pixels) -> bytes:
    return in_all(lambda tool: tool.add_dynamic_config(".*", KINDS.ALL_SUPPORTED, 8), None, network)


def weights_only(network: bytes, _: Pixels) -> bytes:
    return in_all(lambda tool: tool.add_weight_only_config(".*", KINDS.ALL_SUPPORTED, 8), None, network)


def static(network: bytes, calibration: Pixels) -> bytes:
    def add(tool: Any) -> None:
        tool.add_static_config(".*", KINDS.ALL_SUPPORTED, 8, 8)
        for kind in (KINDS.INPUT, KINDS.OUTPUT):
            tool.update_quantization_recipe(".*", kind, algorithm_key=NAMES.NO_QUANTIZE)

    return in_all(add, calibration, network)


def without(**changes: Any) -> Way:
    """Ours, with parts of it replaced."""

    def way(network: bytes, calibration: Pixels) -> bytes:
        kept = {name: getattr(quantise, name) for name in changes}
        for name, value in changes.items():
            setattr(quantise, name, value)
        try:
            return quantise.in_int8(network, calibration)
        finally:
            for name, value in kept.items():
                setattr(quantise, name, value)

    return way


def uncorrected(network: bytes, images: Pixels, kept: Any) -> bytes:
    return network


WAYS: dict[str, Way] = {
    "fp32": lambda network, _: network,
    "fp16": lambda network, _: quantise.with_float16_weights(network),
    "int8": quantise.in_int8,
    "int8, biases not corrected": without(with_corrected_biases=uncorrected),
    "int8, first convolutions too": without(FLOAT_CONVOLUTIONS=0),
    "int8, first convolutions too, biases not corrected": without(
        FLOAT_CONVOLUTIONS=0, with_corrected_biases=uncorrected
    ),
    "static int8 throughout": static,
    "dynamic int8": dynamic,
    "int8 weights only": weights_only,
}


def pixels_of(folder: ImageFolder, size: tuple[int, int], most: int) -> tuple[Pixels, list[int]]:
    order = np.random.default_rng(0).permutation(len(folder.paths))[:most]
    found = [item for item in load_images([folder.paths[row] for row in order], size) if item.image is not None]
    return np.stack([item.image.pixels for item in found]), [int(folder.labels[order[item.index]]) for item in found]


def milliseconds(networks: list[bytes], image: Pixels) -> list[float]:
    runs: list[Any] = []
    for network in networks:
        run = Interpreter(model_content=network, num_threads=1)
        run.allocate_tensors()
        run.set_tensor(run.get_input_details()[0]["index"], image[None].astype(np.float32))
        runs.append(run)
    least = [float("inf")] * len(runs)
    for _ in range(30):
        for index, run in enumerate(runs):
            start = time.perf_counter()
            run.invoke()
            least[index] = min(least[index], 1000 * (time.perf_counter() - start))
    return [round(each, 2) for each in least]


def row(way: str, network: bytes, calibration: Pixels, images: Pixels, truth: list[int]) -> dict[str, Any]:
    begin = time.perf_counter()
    written = WAYS[way](network, calibration)
    seconds = time.perf_counter() - begin
    before, after = (LiteRTNetwork(each)(images) for each in (network, written))
    own, its = before.argmax(axis=1), after.argmax(axis=1)
    change = paired((own == truth).tolist(), (its == truth).tolist())
    ours, theirs = milliseconds([network, written], images[0])
    return {
        "way": way,
        "images": len(images),
        "calibration": len(calibration),
        "same_label": round(float((own == its).mean()), 4),
        "max_difference": round(float(np.abs(after - before).max()), 4),
        "mean_difference": round(float(np.abs(after - before).max(axis=1).mean()), 4),
        "accuracy_before": round(float((own == truth).mean()), 4),
        "accuracy_change": round(change.difference, 4),
        "accuracy_change_ci95": [round(each, 4) for each in change.ci95],
        "bytes": len(written),
        "milliseconds": theirs,
        "milliseconds_fp32": ours,
        "seconds_to_write": round(seconds, 1),
    }


def network_of(bundle: Bundle) -> bytes:
    graph = Graph((bundle.path / "model.tflite").read_bytes())
    return graph.finish(int(graph.graph.outputs[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--table", type=Path, required=True, help="JSON Lines; what is in it is not measured again")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--most", type=int, default=400, help="images to compare on")
    parser.add_argument("--calibrate", type=int, default=64, help="images to calibrate with")
    arguments = parser.parse_args()
    bundle = load(arguments.bundle)
    done = set()
    if arguments.table.exists():
        lines = [json.loads(line) for line in arguments.table.read_text().splitlines()]
        done = {(line["bundle"], line["way"], line["calibrate"]) for line in lines}
    network = network_of(bundle)
    calibration, _ = pixels_of(scan(arguments.calibration), bundle.input_size, arguments.calibrate)
    images, truth = pixels_of(scan(arguments.images), bundle.input_size, arguments.most)
    for way in arguments.ways:
        if (bundle.path.stem, way, arguments.calibrate) in done:
            continue
        found = row(way, network, calibration, images, truth)
        line = {"benchmark": "litert_precisions", "bundle": bundle.path.stem, "calibrate": arguments.calibrate}
        line |= {"backbone": bundle.manifest["backbone"], "input": list(bundle.input_size), **found, **machine()}
        print(json.dumps(line), flush=True)
        with arguments.table.open("a") as table:
            table.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
