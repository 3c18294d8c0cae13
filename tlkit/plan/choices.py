"""The values of options, as plain names: the command line can list them without importing anything."""

from __future__ import annotations

AUTO = "auto"
"""Decide automatically, from measurements, the data or the machine."""

FREEZE, LAST_LAYERS, FINE_TUNE, EARLY = "freeze", "last-layers", "fine-tune", "early-layers"
STRATEGIES = (FREEZE, LAST_LAYERS, FINE_TUNE, EARLY)

LAST, ALL = "last", "all"
FEATURES = (LAST, ALL)
"""Input of the head: the pooled output of the last stage kept, or of all stages kept."""

MEASURED, RULE = "measured", "rule"
ADVISORS = (MEASURED, RULE)

IMAGENET, RANDOM = "imagenet", "none"
WEIGHTS = (IMAGENET, RANDOM)
"""The values of ``--weights`` other than a file."""

NONE, LIGHT, STRONG = "none", "light", "strong"
AUGMENTS = (AUTO, NONE, LIGHT, STRONG)

CLASS_WEIGHTS = (AUTO, NONE)

SPLITS = (AUTO, "train", "val", "test", ALL)
"""Parts of a folder that ``evaluate --split`` takes."""

LITERT, KERAS = "litert", "keras"
ENGINES = (AUTO, LITERT, KERAS)

PREPROCESSING = {
    "included": "part of the network",
    "scale-0-1": "scale to 0..1",
    "tf": "scale to -1..1",
    "torch": "scale to 0..1, subtract ImageNet's mean, divide by its standard deviation",
    "caffe": "convert to BGR, subtract ImageNet's mean",
    "lite": "(x - 127) / 128",
}
"""The preprocessing that can be chosen for your own backbone, and what it does to RGB pixels 0..255."""

DEFAULT_BACKBONE = "efficientnet-lite0"
"""The default backbone: its weights are part of the installation."""

MAX_COST = 2.5
"""How many times as many operations as the default backbone at its own input size another network may take."""

UNKNOWN_RATE, MAX_UNKNOWN_RATE = 0.05, 0.5
"""Share of images of known classes that may be called unknown: default and maximum."""

WEB = "web"
EXPORTS = ("litert", "onnx", "saved-model", "keras", "openvino", "coreml", WEB)
"""The formats that ``export`` writes."""

FP32, FP16, INT8 = "fp32", "fp16", "int8"
PRECISIONS = (FP32, FP16, INT8)
"""How an exported network holds its weights, and with int8 also computes."""
