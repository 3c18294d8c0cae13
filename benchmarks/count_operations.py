"""Multiply-adds of every backbone, counted from the network, against the catalogue and the papers; one JSON line.

    python benchmarks/count_operations.py
    python benchmarks/count_operations.py vgg16 resnet50

Takes some minutes for all. ``everything`` also counts two operations for each value that a BatchNorm puts out and one
for each of an activation or an addition, as a few published figures seem to.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from measure import machine

from tlkit.backbones import catalog
from tlkit.backbones.build import build_backbone
from tlkit.backbones.operations import count_operations, model_operations
from tlkit.backbones.runtime import import_keras

OTHERS = {"BatchNormalization": 2, "ReLU": 1, "Activation": 1, "Add": 1}  # operations for each value put out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=catalog.names())
    arguments = parser.parse_args()
    counted = {name: count(name) for name in arguments.names}
    print(json.dumps({"benchmark": "count_operations", "networks": counted, **machine()}))


def count(name: str) -> dict[str, Any]:
    """Operations with and without the classifier, whether the catalogue says the same, and what was published."""
    row, keras = catalog.get(name), import_keras()
    network = build_backbone(row.name, weights="none")
    body = count_operations(network)["top"]
    classes = 1000
    if row.keras_name:
        side = (row.input_size, row.input_size, 3)
        whole = model_operations(getattr(keras.applications, row.keras_name)(weights=None, input_shape=side))
    else:
        whole = body + network.model.output.shape[-1] * classes
    others = sum(
        OTHERS.get(type(layer).__name__, 0) * math.prod(layer.output.shape[1:]) for layer in network.model.layers
    )
    keras.backend.clear_session()
    published, source = row.published_operations or (None, None)
    return {
        "without_classifier": body,
        "with_classifier": whole,
        "as_in_catalogue": (body, whole) == (row.operations, row.operations_top),
        "published": published,
        "source": source,
        "apart_percent": None if published is None else round(100 * (whole / published - 1), 1),
        "everything": whole + others,
    }


if __name__ == "__main__":
    main()
