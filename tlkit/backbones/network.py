"""A backbone that was built and filled with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlkit.backbones.catalog import Backbone
from tlkit.backbones.stages import Stage
from tlkit.backbones.weights.partial_load import EVERYTHING, Filling


@dataclass(frozen=True)
class Network:
    """A backbone that was built and filled.

    Attributes:
        backbone: Its catalogue row.
        model: Flat functional ``keras.Model``. Input ``image``: float32 [batch, height, width, 3], RGB,
            0..255, of fixed size. Output: the last feature map, float32 [batch, h, w, channels], not pooled.
        stages: Where its stages end, from input to output. The last one ends at the model's output.
        weights_hash: SHA-256, in hex, of the file the weights came from; ``none-<seed>`` for random weights.
        filling: What of it a weights file filled, where not all.
    """

    backbone: Backbone
    model: Any
    stages: tuple[Stage, ...]
    weights_hash: str
    filling: Filling = EVERYTHING
