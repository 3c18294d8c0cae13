"""The values that options take: plain names, so that the command line can offer them without importing anything."""

from __future__ import annotations

AUTO = "auto"
"""Decide by measuring, by the data or by the machine."""

FREEZE, LAST_LAYERS, FINE_TUNE, EARLY = "freeze", "last-layers", "fine-tune", "early-layers"
STRATEGIES = (FREEZE, LAST_LAYERS, FINE_TUNE, EARLY)

LAST, ALL = "last", "all"
FEATURES = (LAST, ALL)
"""What the head takes: the pooled output of the last stage kept, or those of all stages kept."""

MEASURED, RULE = "measured", "rule"
ADVISORS = (MEASURED, RULE)

IMAGENET, RANDOM = "imagenet", "none"
WEIGHTS = (IMAGENET, RANDOM)
"""What ``--weights`` takes besides a file."""

NONE, LIGHT, STRONG = "none", "light", "strong"
AUGMENTS = (AUTO, NONE, LIGHT, STRONG)

CLASS_WEIGHTS = (AUTO, NONE)

SPLITS = (AUTO, "train", "val", "test", ALL)
"""Parts of a folder that ``evaluate --split`` takes."""

LITERT, KERAS = "litert", "keras"
ENGINES = (AUTO, LITERT, KERAS)

PREPROCESSING = {
    "included": "the network does it itself",
    "scale-0-1": "to 0..1",
    "tf": "to -1..1",
    "torch": "to 0..1, minus ImageNet's mean, by its standard deviation",
    "caffe": "to BGR, minus ImageNet's mean",
    "lite": "(x - 127) / 128",
}
"""What can be asked for with a backbone of your own, and what it does to RGB pixels 0..255."""

DEFAULT_BACKBONE = "efficientnet-lite0"
"""The backbone taken when none is named: its weights come with the installation."""

UNKNOWN_RATE, MAX_UNKNOWN_RATE = 0.05, 0.5
"""Share of images of known classes that may be called unknown: by default, and at most."""
