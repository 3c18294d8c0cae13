"""A frozen backbone, ready to compute features: a LiteRT graph where that runs, else a Keras network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.build import build_backbone, check_request
from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.engines import AGREEMENT, Forward, LiteRTNetwork, choose_engine, has_litert, keras_forward
from tlkit.backbones.litert import conversions
from tlkit.backbones.network import Network
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.weights.loading import known_digest
from tlkit.errors import TlkitError
from tlkit.libraries import require_keras
from tlkit.plan.choices import IMAGENET, KERAS, LITERT
from tlkit.progress import Progress, SilentProgress
from tlkit.store.disk_matrix import Vectors, part_of

TOP = "top"
Taps = tuple[tuple[str, int], ...]


@dataclass(eq=False)
class Extractor:
    """A frozen backbone that computes features.

    Attributes:
        backbone: Its catalogue row.
        input_size: Side of the square input in pixels.
        weights: "imagenet", "none" or a file, as requested.
        weights_hash: SHA-256 of the weights file in hex, or ``none-<seed>``.
        taps: (name, width) of the blocks of a feature vector: the pooled outputs of the stages and, last, of the top.
            A stage that ends at the top has no block of its own.
        engine: The engine that computes the features: "litert" or "keras".
        graph: The network in LiteRT's format, from image to features; None: not converted yet, or not convertible.
        seed: Seed of random weights.
        keep: Whether a conversion is kept in the cache.
        upto: Last stage of the network, whose output is then the top; None: the whole network.
        partial_note: Note for the user if a weights file filled only a part of the network, else "".
    """

    backbone: Backbone
    input_size: int
    weights: str
    weights_hash: str
    taps: Taps
    engine: str
    graph: bytes | None
    seed: int = 0
    keep: bool = True
    upto: str | None = None
    partial_note: str = ""
    _network: Network | None = None
    _inconvertible: bool = False

    @property
    def network(self) -> Network:
        """The Keras network, built on first use."""
        if self._network is None:
            self._network = _build(self.backbone, self.weights, self.input_size, self.seed, self.upto)
        return self._network

    @property
    def is_built(self) -> bool:
        """Whether `network` is already built."""
        return self._network is not None

    def forward(self, workers: int | None = None) -> Forward:
        """Return a function from uint8 [n, h, w, 3] (RGB, 0..255) to float32 [n, columns]: all taps, average-pooled."""
        if self.engine == LITERT and self.graph is not None:
            return LiteRTNetwork(self.graph, workers)
        return keras_forward(tap_model(self.network))

    def convert(self, progress: Progress) -> None:
        """Convert the network to LiteRT's format, unless that is done or LiteRT is not installed, and keep the result.

        A graph that does not agree with the Keras network is discarded, with a note.
        """
        if self.graph is not None or self._inconvertible or not has_litert():
            return
        name = self.backbone.name
        with progress.phase(f"Converting {name} for LiteRT, once", None):
            graph, problem = _converted(self.network)
        if graph is None:
            self._inconvertible = True
            progress.note(problem)
            return
        self.graph = graph
        if self.keep:
            conversion = conversions.Conversion(self.taps, graph, self.partial_note)
            conversions.keep(self.backbone.key, self.weights_hash, self.input_size, conversion)


def open_extractor(
    name: str | Backbone,
    *,
    weights: str = IMAGENET,
    input_size: int | None = None,
    engine: str = "auto",
    seed: int = 0,
    keep: bool = True,
    upto: str | None = None,
    progress: Progress | None = None,
) -> Extractor:
    """Load a frozen backbone.

    The packaged network is written in LiteRT's format directly from its weights, without TensorFlow. Other weights for
    it, and all other networks, need Keras; they are converted once and kept in the cache.

    Args:
        name: Any spelling of a catalogue name, a ``.keras`` file, or a row.
        weights: "imagenet" (for a ``.keras`` file: its own weights), "none" (random) or a file.
        input_size: Side of the square input in pixels; None: the backbone's own.
        engine: "auto", "litert" or "keras".
        seed: Seed of random weights.
        keep: Whether a conversion is kept in the cache.
        upto: Last stage to use, whose output becomes the top; None: the whole network.
        progress: Progress reporter.

    Raises:
        TlkitError: The name or the stage is unknown, the size is too small, the weights are not available, or the
            engine is not installed.
    """
    show = progress or SilentProgress()
    row, size = check_request(name, weights, input_size)
    chosen = choose_engine(engine)
    kept = _kept(row, weights, size, seed, upto) if has_litert() else None
    if kept is not None:
        digest, found = kept
        if found.partial_note:
            show.note(found.partial_note)
        return Extractor(
            row, size, weights, digest, found.taps, chosen, found.graph, seed, keep, upto, found.partial_note
        )
    require_keras(f"building {row.name}")
    with show.phase(f"Loading {row.name}", None):
        network = _build(row, weights, size, seed, upto)
    note = network.partial_load.note(Path(weights).name)
    if note:
        show.note(note)
    digest, taps = network.weights_hash, tap_widths(network)
    extractor = Extractor(row, size, weights, digest, taps, chosen, None, seed, keep, upto, note, network)
    if chosen == LITERT:
        extractor.convert(show)
        extractor.engine = LITERT if extractor.graph is not None else KERAS
    return extractor


def _build(row: Backbone, weights: str, size: int, seed: int, upto: str | None) -> Network:
    """Build the Keras network, or only its stages up to ``upto``.

    Raises:
        TlkitError: As for `build_backbone`, Keras is not installed, or there is no such stage.
    """
    require_keras(f"building {row.name}")
    network = build_backbone(row, weights=weights, input_size=size, seed=seed)
    if upto is None:
        return network
    stages = {stage.name: stage for stage in network.stages}
    if upto not in stages:
        raise TlkitError(f"{row.name} has no stage '{upto}'", f"one of {', '.join(stages)}")
    output = network.model.get_layer(stages[upto].layer).output
    return replace(
        network,
        model=import_keras().Model(network.model.input, output, name=network.model.name),
        stages=network.stages[: stages[upto].index],
        weights_hash=_cut_hash(network.weights_hash, upto),
    )


def _cut_hash(weights_hash: str, upto: str | None) -> str:
    """Return the hash for the weights of a network that ends early, which differs from that of the whole network."""
    return weights_hash if upto is None else f"{weights_hash}-{upto}"


def _kept(
    row: Backbone, weights: str, size: int, seed: int, upto: str | None
) -> tuple[str, conversions.Conversion] | None:
    """Return the hash of the weights and the network in LiteRT's format, if both are available without TensorFlow."""
    if row.packaged and weights == IMAGENET:
        if upto is not None:
            return None
        from tlkit.backbones.litert.efficientnet_lite import packaged_graph

        graph, taps, packaged = packaged_graph(row.variant, size)
        return packaged, conversions.Conversion(taps, graph)
    known = known_digest(row, weights, seed)
    digest = _cut_hash(known, upto) if known else None
    conversion = conversions.find(row.key, digest, size) if digest else None
    return (digest, conversion) if digest and conversion else None


def _converted(network: Network) -> tuple[bytes | None, str]:
    """Return a graph that agrees with the network, or None and the reason."""
    model, name = tap_model(network), network.backbone.name
    try:
        graph = _graph_of(network, model)
        pixels = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:]), dtype=np.uint8)
        theirs, ours = keras_forward(model)(pixels), LiteRTNetwork(graph)(pixels)
    except Exception as error:  # noqa: BLE001  (a converter may fail in any way; Keras runs every network)
        reason = " ".join(str(error).split())[:120]
        return None, f"{name} cannot be converted for LiteRT and runs with Keras, which is slower: {reason}"
    difference = float(np.abs(theirs - ours).max() / max(1e-6, float(np.abs(theirs).max())))
    if not difference <= AGREEMENT:  # also if it is not a number
        return None, f"LiteRT and Keras differ by {difference:.1g} on {name}, so it runs with Keras, which is slower"
    return graph, ""


def _graph_of(network: Network, model: Any) -> bytes:
    """Return a network in LiteRT's format: written from its weights if possible, which is faster, else converted."""
    if not network.backbone.packaged:
        return conversions.convert(model)
    from tlkit.backbones.litert.efficientnet_lite import lite_graph

    weights = {layer.name: layer.get_weights() for layer in network.model.layers}
    return lite_graph(weights, int(model.input_shape[1]), network.backbone.variant)[0]


def tap_tensors(network: Network) -> list[tuple[str, Any]]:
    """Return (name, tensor) of each feature map that is pooled; the top last, and only once."""
    output = network.model.output
    ends = [(stage.name, network.model.get_layer(stage.layer).output) for stage in network.stages]
    return [*(end for end in ends if end[1] is not output), (TOP, output)]


def tap_widths(network: Network) -> Taps:
    """Return (name, channels) of each pooled feature block: the stages from input to output, then the top."""
    return tuple((name, int(tensor.shape[-1])) for name, tensor in tap_tensors(network))


def tap_model(network: Network) -> Any:
    """Return a ``keras.Model`` from float32 [n, h, w, 3] to float32 [n, columns]: all taps, average-pooled."""
    return import_keras().Model(network.model.input, joined_means([tensor for _, tensor in tap_tensors(network)]))


def joined_means(maps: Sequence[Any], before: Any = None) -> Any:
    """Average feature maps over space and join them to one vector, in layers whose names no network has.

    Keras numbers the names that it gives by itself from what was built in this process, so in one that loaded its
    network from a file they could be names of that network's layers, which Keras refuses.

    Args:
        maps: Keras tensors [n, h, w, c].
        before: A Keras tensor [n, columns] that goes first; None: nothing.

    Returns:
        A Keras tensor [n, columns].
    """
    layers = import_keras().layers
    parts = [layers.GlobalAveragePooling2D(name=f"tlkit_mean_{place}")(each) for place, each in enumerate(maps)]
    parts = parts if before is None else [before, *parts]
    return layers.Concatenate(axis=1, name="tlkit_join")(parts) if len(parts) > 1 else parts[0]


def columns_of(taps: Sequence[tuple[str, int]], wanted: Sequence[str]) -> list[int]:
    """Return the column numbers of the wanted blocks in a vector that holds all ``taps`` one after another."""
    columns: list[int] = []
    start = 0
    for name, width in taps:
        if name in wanted:
            columns.extend(range(start, start + width))
        start += width
    return columns


@overload
def rows_of(matrix: NDArray[np.float32], taps: Taps, chosen: Sequence[str]) -> NDArray[np.float32]: ...
@overload
def rows_of(matrix: Vectors, taps: Taps, chosen: Sequence[str]) -> Vectors: ...
def rows_of(matrix: Vectors, taps: Taps, chosen: Sequence[str]) -> Vectors:
    """Return all rows with the columns of the chosen blocks, float32 [n, columns]; the matrix itself if all are."""
    return matrix if len(chosen) == len(taps) else part_of(matrix, columns=columns_of(taps, chosen))


def widths_of(taps: Taps, chosen: Sequence[str]) -> list[int]:
    """Return the widths of the chosen blocks, in the order of their columns."""
    return [width for name, width in taps if name in chosen]
