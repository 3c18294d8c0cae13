"""Write a folder that any web server serves: a page that labels images in the browser and sends none anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import Forward, LiteRTNetwork
from tlkit.backbones.litert.graph import Graph
from tlkit.bounded import MIB, read_json
from tlkit.formats import quantise
from tlkit.formats.source import FP16, INT8, Source
from tlkit.formats.web_runtime import HELPER, PACKAGE, WebRuntime, find_web_runtime
from tlkit.jsontext import json_text
from tlkit.linear.ood import OodStatistics

PAGE = Path(__file__).parent / "page"
FILES = ("index.html", "page.css", "page.js", "worker.js", "resize.js", "unknown.js", "LICENSE")
NETWORK, CARD, KNOWN, NOTICE, RUNTIME = "model.tflite", "model.json", "known.bin", "NOTICE.txt", "litert"
"""Files of the folder besides those of the page, and the folder of LiteRT.js in it."""

_MAX_CARD = 64 * MIB


def write_web(folder: Path, source: Source) -> None:
    """Write the page, the network, what it says of itself, and LiteRT.js into a new folder.

    Raises:
        TlkitError: The bundle has no ``model.tflite``, LiteRT.js is not there or cannot be read, or int8 is wanted and
            there are no images to calibrate it with.
    """
    runtime = find_web_runtime(source.web_runtime)
    network, known = _network(source)
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes((PAGE / name).read_bytes())
    (folder / NETWORK).write_bytes(network)
    (folder / CARD).write_text(json_text({**source.card, "known": known and _sizes(known, source)}), encoding="utf-8")
    if known is not None:
        (folder / KNOWN).write_bytes(b"".join(each.astype("<f4").tobytes() for each in _arrays(known)))
    (folder / NOTICE).write_text(_notice(runtime, source), encoding="utf-8")
    runtime.copy(folder / RUNTIME)


def web_forward(folder: Path) -> Forward:
    """Return a written network as a function from uint8 [n, h, w, 3] to probabilities, float32 [n, classes].

    LiteRT runs it outside the browser. LiteRT.js is the same engine; tests compare the two in Chromium.
    """
    network, classes = LiteRTNetwork(folder / NETWORK), len(read_json(folder / CARD, _MAX_CARD)["classes"])
    return lambda pixels: network(pixels)[:, :classes]


def _network(source: Source) -> tuple[bytes, OodStatistics | None]:
    """Return the network, and the statistics for its second output; None: the page cannot tell unknown images.

    In int8, the features would differ from those that the statistics are of.
    """
    unknown = source.card.get("unknown") or {}
    if source.precision == INT8:
        return quantise.in_int8(_for_one_image(source.lite_network), source.calibration), None
    known = source.ood if source.lite is not None and unknown.get("threshold") is not None else None
    network = _for_one_image(source.lite_network if known is None or source.lite is None else source.lite)
    return quantise.with_float16_weights(network) if source.precision == FP16 else network, known


def _for_one_image(data: bytes) -> bytes:
    """Return a network that takes one image at a time: LiteRT.js refuses an input of any number."""
    graph = Graph(data)
    for tensor in graph.graph.tensors:
        tensor.shapeSignature = None
    return graph.finish(*map(int, graph.graph.outputs))


def _sizes(known: OodStatistics, source: Source) -> dict[str, Any]:
    """Return what unknown.js needs to read the statistics, and the score above which an image is unknown."""
    rank, features = known.basis.shape
    threshold = source.card["unknown"]["threshold"]
    return {"features": features, "rank": rank, "classes": len(known.shares), "threshold": threshold}


def _arrays(known: OodStatistics) -> list[NDArray[Any]]:
    """Return the arrays of known.bin, in the order that unknown.js has; see `OodStatistics.measures`."""
    means = known.classes.astype(np.float64)
    inner = np.linalg.inv(np.diag(1 / known.shares.astype(np.float64)) + means @ means.T)
    before: list[NDArray[Any]] = [known.mean, known.scale, known.basis, known.gain, known.rest, known.centre]
    return [*before, means, inner, known.typical]


def _notice(runtime: WebRuntime, source: Source) -> str:
    return f"""\
This folder was written by tlkit {source.card["tlkit"]}. Serve it with any web server, for example

    python -m http.server

The page and its scripts are part of tlkit, under the Apache License 2.0: see LICENSE.

{RUNTIME}/ is LiteRT.js, copyright Google LLC, under the Apache License 2.0 too: {PACKAGE} {runtime.version} and
{HELPER}, as npm has them, except that the first imports the second by the name of its file.

{NETWORK} and {KNOWN} are the classifier. Their licence is up to whoever trained it.
"""
