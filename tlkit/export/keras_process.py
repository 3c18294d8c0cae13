"""Build and save the Keras network in a process of its own, while features are computed and the head is solved.

The frozen strategy needs TensorFlow for one thing only, to write ``model.keras``, and with the packaged weights not
even for that (`tlkit.export.keras_archive`). Importing it and building the network take seconds of one core, in
which nothing has to wait; in a thread they would hold the interpreter lock up.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.extractor import TOP, Extractor
from tlkit.linear.head import Head
from tlkit.plan.choices import IMAGENET, LITERT, RANDOM

# The current folder is not searched for modules: it is the user's, and may hold a keras.py.
_START = "import sys; del sys.path[0]; from tlkit.export.keras_process import main; main()"


@contextlib.contextmanager
def keras_process(extractor: Extractor, *, wanted: bool = True) -> Iterator[KerasProcess | None]:
    """A process for as long as the block runs; None where Keras is at work in this one anyway, or not needed."""
    if not wanted or extractor.engine != LITERT or extractor.is_built or is_written_here(extractor):
        yield None
        return
    with contextlib.closing(KerasProcess(extractor)) as process:
        yield process


def is_written_here(extractor: Extractor) -> bool:
    """Whether the backbone's Keras network can be written without Keras: it is the packaged one as it came."""
    return extractor.backbone.packaged and extractor.weights == IMAGENET and not extractor.is_built


class KerasProcess:
    """A process that builds a backbone's Keras network at once and saves it with a head when asked.

    Args:
        extractor: The backbone.
    """

    def __init__(self, extractor: Extractor) -> None:
        weights = extractor.weights
        if weights not in (IMAGENET, RANDOM):
            weights = str(Path(weights).expanduser().absolute())
        paths = [path for path in sys.path if path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": "-1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        row = asdict(extractor.backbone)
        self._say(backbone=row, weights=weights, input_size=extractor.input_size, seed=extractor.seed)

    def save(
        self,
        file: Path,
        head: Head,
        pixels: NDArray[np.uint8],
        taps: Sequence[str] = (TOP,),
        named: Sequence[str] = (),
    ) -> tuple[NDArray[np.float32], dict[str, str]] | None:
        """Save the network with a head, and run it on some images.

        Args:
            file: Where ``model.keras`` goes.
            head: On the pooled features of ``taps``.
            pixels: uint8 [n, height, width, 3].
            taps: Names of the blocks the head takes.
            named: Names of the blocks whose layers are asked for.

        Returns:
            Probabilities, float32 [n, classes], and layers by block; None if the process failed, whatever the reason.
        """
        with tempfile.TemporaryDirectory() as folder:
            given, found, layers = (Path(folder) / name for name in ("given.npz", "found.npy", "layers.json"))
            np.savez(given, kernel=head.kernel, bias=head.bias, pixels=pixels)
            places = {"file": str(file), "given": str(given), "found": str(found), "layers": str(layers)}
            self._say(**places, taps=list(taps), named=list(named))
            # whatever else a library may print comes before
            if not any(line.strip() == "done" for line in self._process.stdout or ()):
                return None
            return np.asarray(np.load(found), dtype=np.float32), json.loads(layers.read_text(encoding="utf-8"))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.wait()

    def _say(self, **message: Any) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it died: `save` will find out
                print(json.dumps(message), file=self._process.stdin, flush=True)


def main() -> None:
    """What the process does: one JSON line says what to build, the next what to save; then "done" on stdout."""
    from tlkit.backbones.build import build_backbone
    from tlkit.linear.classifier import attach_head, layers_of

    asked = json.loads(sys.stdin.readline())
    network = build_backbone(Backbone(**asked.pop("backbone")), **asked)
    line = sys.stdin.readline()
    if not line:  # whoever asked is gone
        return
    task = json.loads(line)
    given = np.load(task["given"])
    model = attach_head(network, Head(given["kernel"], given["bias"], 0.0, ()), task["taps"])
    model.save(task["file"])
    np.save(task["found"], np.asarray(model(given["pixels"].astype(np.float32), training=False)))
    Path(task["layers"]).write_text(json.dumps(layers_of(network, task["named"])), encoding="utf-8")
    print("done", flush=True)  # noqa: T201
