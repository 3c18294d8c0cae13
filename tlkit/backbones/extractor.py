"""A frozen backbone, ready to compute features: in LiteRT's format where that runs, else as a Keras network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.backbones import conversions
from tlkit.backbones.build import Network, build_backbone, check_request
from tlkit.backbones.catalog import Backbone
from tlkit.backbones.engines import (
    AGREEMENT,
    KERAS,
    LITERT,
    Forward,
    LiteRTNetwork,
    choose_engine,
    has_litert,
    keras_forward,
)
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.weights import IMAGENET, known_digest
from tlkit.progress import Progress, SilentProgress

TOP = "top"
Taps = tuple[tuple[str, int], ...]


@dataclass(eq=False)
class Extractor:
    """A backbone whose weights stay as they are.

    Attributes:
        backbone: Its catalogue row.
        input_size: Side of the square input in pixels.
        weights: As asked for: "imagenet", "none" or a file.
        weights_hash: SHA-256 of the weights' file in hex, or ``none-<seed>``.
        taps: (name, width) of the blocks of a feature vector: the pooled outputs of the stages and, last, of the top.
            A stage that ends in the top has no block of its own.
        engine: What computes the features: "litert" or "keras".
        graph: The network in LiteRT's format, from image to features; None where it has not been made or cannot be.
        seed: Of random weights.
        filling: What to say of a weights file that did not fill everything, else "".
    """

    backbone: Backbone
    input_size: int
    weights: str
    weights_hash: str
    taps: Taps
    engine: str
    graph: bytes | None
    seed: int = 0
    filling: str = ""
    _network: Network | None = None
    _inconvertible: bool = False

    @property
    def network(self) -> Network:
        """The Keras network, built when first asked for."""
        if self._network is None:
            self._network = build_backbone(
                self.backbone, weights=self.weights, input_size=self.input_size, seed=self.seed
            )
        return self._network

    @property
    def is_built(self) -> bool:
        """Whether `network` is there already."""
        return self._network is not None

    def forward(self, workers: int | None = None) -> Forward:
        """A function from uint8 [n, h, w, 3] (RGB, 0..255) to float32 [n, columns]: all taps, averaged over space."""
        if self.engine == LITERT and self.graph is not None:
            return LiteRTNetwork(self.graph, workers)
        return keras_forward(tap_model(self.network))

    def convert(self, progress: Progress) -> None:
        """Make the graph, unless it is there or LiteRT is not installed, and keep it for the next run.

        One that does not agree with the Keras network is not taken, and that is said, once.
        """
        if self.graph is not None or self._inconvertible or not has_litert():
            return
        name = self.backbone.name
        with progress.phase(f"Converting {name} for LiteRT, once", None):
            graph, problem = _converted(tap_model(self.network), name)
        if graph is None:
            self._inconvertible = True
            progress.note(problem)
            return
        self.graph = graph
        made = conversions.Conversion(self.taps, graph, self.filling)
        conversions.keep(self.backbone.key, self.weights_hash, self.input_size, made)


def open_extractor(
    name: str | Backbone,
    *,
    weights: str = IMAGENET,
    input_size: int | None = None,
    engine: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Extractor:
    """Make a frozen backbone ready.

    The packaged network is written in LiteRT's format from its weights, without TensorFlow. Any other is converted from
    Keras once and kept in the cache, by backbone, weights, size and taps.

    Args:
        name: Any spelling of a catalogue name, a ``.keras`` file, or a row.
        weights: "imagenet" (of a ``.keras`` file: its own), "none" (random) or a file.
        input_size: Side of the square input in pixels; None for the backbone's own.
        engine: "auto", "litert" or "keras".
        seed: Of random weights.
        progress: Told what takes long.

    Raises:
        TlkitError: The name is unknown, the size too small, the weights cannot be had, or the engine is not there.
    """
    show = progress or SilentProgress()
    row, size = check_request(name, weights, input_size)
    chosen = choose_engine(engine)
    kept = _kept(row, weights, size, seed) if has_litert() else None
    if kept is not None:
        digest, conversion = kept
        if conversion.filling:
            show.note(conversion.filling)
        return Extractor(
            row, size, weights, digest, conversion.taps, chosen, conversion.graph, seed, conversion.filling
        )
    with show.phase(f"Loading {row.name}", None):
        network = build_backbone(row, weights=weights, input_size=size, seed=seed)
    filling = network.filling.line(Path(weights).name)
    if filling:
        show.note(filling)
    digest, taps = network.weights_hash, tap_widths(network)
    extractor = Extractor(row, size, weights, digest, taps, chosen, None, seed, filling, network)
    if chosen == LITERT:
        extractor.convert(show)
        extractor.engine = LITERT if extractor.graph is not None else KERAS
    return extractor


def _kept(row: Backbone, weights: str, size: int, seed: int) -> tuple[str, conversions.Conversion] | None:
    """The hash of the weights and the network in LiteRT's format, where both can be had without TensorFlow."""
    if row.packaged and weights == IMAGENET:
        from tlkit.backbones.lite_graph import packaged_graph

        graph, taps, digest = packaged_graph(row.variant, size)
        return digest, conversions.Conversion(taps, graph)
    digest_or_none = known_digest(row, weights, seed)
    conversion = conversions.find(row.key, digest_or_none, size) if digest_or_none else None
    return (digest_or_none, conversion) if digest_or_none and conversion else None


def _converted(model: Any, name: str) -> tuple[bytes | None, str]:
    """A graph that agrees with the model, or None and why there is none."""
    try:
        graph = conversions.convert(model)
        pixels = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:]), dtype=np.uint8)
        theirs, ours = keras_forward(model)(pixels), LiteRTNetwork(graph)(pixels)
    except Exception as error:  # noqa: BLE001  (a converter may fail in any way; Keras runs every network)
        reason = " ".join(str(error).split())[:120]
        return None, f"{name} cannot be converted for LiteRT, so Keras, the slower one, runs it: {reason}"
    apart = float(np.abs(theirs - ours).max() / max(1e-6, float(np.abs(theirs).max())))
    if not apart <= AGREEMENT:  # also where it is not a number
        return None, f"LiteRT and Keras differ by {apart:.1g} on {name}, so Keras, the slower one, runs it"
    return graph, ""


def tap_tensors(network: Network) -> list[tuple[str, Any]]:
    """(name, tensor) of each feature map that is pooled; the top last, and only once."""
    output = network.model.output
    ends = [(stage.name, network.model.get_layer(stage.layer).output) for stage in network.stages]
    return [*(end for end in ends if end[1] is not output), (TOP, output)]


def tap_widths(network: Network) -> Taps:
    """(name, channels) of each pooled feature block: the stages from input to output, then the top."""
    return tuple((name, int(tensor.shape[-1])) for name, tensor in tap_tensors(network))


def tap_model(network: Network) -> Any:
    """A ``keras.Model`` from float32 [n, h, w, 3] to float32 [n, columns], all taps averaged over space."""
    keras = import_keras()
    pooled = [keras.ops.mean(tensor, axis=(1, 2)) for _, tensor in tap_tensors(network)]
    return keras.Model(network.model.input, keras.ops.concatenate(pooled, axis=1) if len(pooled) > 1 else pooled[0])


def columns_of(taps: Sequence[tuple[str, int]], wanted: Sequence[str]) -> list[int]:
    """Column numbers of the wanted blocks in a vector that holds all ``taps`` one after another."""
    columns: list[int] = []
    start = 0
    for name, width in taps:
        if name in wanted:
            columns.extend(range(start, start + width))
        start += width
    return columns
