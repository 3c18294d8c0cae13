"""A backbone that is built and has its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlkit.backbones.catalog import Backbone
from tlkit.backbones.stages import Stage
from tlkit.backbones.weights.partial_load import EVERYTHING, PartialLoad


@dataclass(frozen=True)
class Network:
    """A backbone that is built and has its weights.

    Attributes:
        backbone: Its catalogue row.
        model: Flat functional ``keras.Model``. Input ``image``: float32 [batch, height, width, 3], RGB,
            0..255, of fixed size. Output: the last feature map, float32 [batch, h, w, channels], not pooled.
        stages: Its stages, from input to output. The last one ends at the model's output.
        weights_hash: SHA-256, in hex, of the weights file; ``none-<seed>`` for random weights.
        partial_load: The layers that a weights file filled, if it did not fill all.
    """

    backbone: Backbone
    model: Any
    stages: tuple[Stage, ...]
    weights_hash: str
    partial_load: PartialLoad = EVERYTHING
