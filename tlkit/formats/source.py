"""What a network is exported from: the same for the writers of all formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.errors import TlkitError
from tlkit.linear.ood import OodStatistics
from tlkit.plan.choices import FP16, FP32, INT8, PRECISIONS

__all__ = ["FP16", "FP32", "INT8", "PRECISIONS", "Source"]


@dataclass(frozen=True, eq=False)
class Source:
    """A trained network, and what an exported file says of it.

    Attributes:
        keras_file: The bundle's ``model.keras``, from float32 [n, height, width, 3] (RGB, 0..255) to probabilities.
        lite: The bundle's ``model.tflite``, float32: the same network, with features for OOD detection as a second
            output if the bundle has OOD statistics; None if it has no such file.
        card: What the exported file says of itself, plain data for JSON. It has at least ``tlkit`` (version),
            ``classes``, ``input`` (``size`` [height, width], ``colour``, ``range``, ``resize``), ``temperature``,
            ``unknown`` (``rate``, ``threshold``; or None), ``precision`` and ``source`` (name and SHA-256 of the
            bundle).
        precision: One of `PRECISIONS`.
        calibration: uint8 [n, height, width, 3], images that int8 takes the range of values from; else empty.
        ood: The bundle's OOD statistics; None if it has none.
        web_runtime: Where LiteRT.js is, for a web page; None: in the current folder.
    """

    keras_file: Path
    lite: bytes | None
    card: Mapping[str, Any]
    precision: str
    calibration: NDArray[np.uint8]
    ood: OodStatistics | None = None
    web_runtime: Path | None = None

    @property
    def classes(self) -> Sequence[str]:
        """Class names, in the order of the outputs."""
        found: Sequence[str] = self.card["classes"]
        return found

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.card["input"]["size"]
        return height, width

    @cached_property
    def lite_network(self) -> bytes:
        """The network in LiteRT's format with one output, the probabilities.

        If the bundle has none, its Keras network is converted.

        Raises:
            TlkitError: It cannot be converted.
        """
        from tlkit.backbones.litert.graph import Graph

        graph = Graph(self._converted() if self.lite is None else self.lite)
        return graph.finish(int(graph.graph.outputs[0]))

    def _converted(self) -> bytes:
        from tlkit.backbones.litert.conversions import convert
        from tlkit.backbones.weights.archive import load_model

        model = load_model(self.keras_file)
        try:
            return convert(model)
        except Exception as error:
            # the converter has no exception of its own
            reason = " ".join(str(error).split())[:120]
            raise TlkitError(
                f"the bundle has no model.tflite, and its network cannot be converted for LiteRT: {reason}",
                "export it as keras or saved-model",
            ) from error
