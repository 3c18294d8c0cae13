"""How much of a block's mean variance is added to each feature's before the head is solved: one JSON line.

    python benchmarks/head_scaling.py FOLDER FOLDER... --per-class 5 20 --seeds 3

For each folder and seed, a head is solved on the embedded network's top features of a balanced subset, as ``tlkit train
--strategy freeze`` does, with several values of `tlkit.linear.scaling.FLOOR`; 0 is plain standardisation. Figures are
those of images that nothing was chosen on, means over the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import defaultdict
from itertools import chain
from pathlib import Path
from unittest import mock

import numpy as np
from measure import machine
from strategies import draw

FLOORS = (0.0, 0.1, 0.3, 1.0, 3.0)
FIGURES = ("accuracy", "log_loss")
TEST = 500  # images at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--per-class", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TLKIT_CACHE"] = cache
        for images in arguments.images:
            for count in arguments.per_class:
                for seed in range(arguments.seeds):
                    measure(images, count, arguments.image_size, seed, found[f"{images.resolve().name}, {count}"])

    def means(rows: list[tuple[float, float]]) -> dict[str, float]:
        return dict(zip(FIGURES, np.mean(rows, axis=0).round(4).tolist(), strict=True))

    test = {place: {floor: means(rows) for floor, rows in by_floor.items()} for place, by_floor in found.items()}
    print(json.dumps({"benchmark": "head_scaling", "image_size": arguments.image_size, "test": test, **machine()}))


def measure(images: Path, count: int, size: int, seed: int, found: dict[str, list[tuple[float, float]]]) -> None:
    """Accuracy and log loss on test images, for each floor."""
    from tlkit.backbones.extractor import TOP, open_extractor
    from tlkit.backbones.features import compute_features, feature_key
    from tlkit.linear import head as heads
    from tlkit.linear import scaling
    from tlkit.store.features import FeatureStore

    subset = draw(images, count, 0, seed, test=TEST)
    drawn = list(chain(subset.train, subset.test))
    extractor = open_extractor("efficientnet-lite0", input_size=size)
    store = FeatureStore(feature_key(extractor))
    features = compute_features([path for path, _ in drawn], extractor, taps=[TOP], store=store)
    labels = np.asarray([drawn[row][1] for row in features.rows])
    train = np.asarray(features.rows) < len(subset.train)
    for floor in FLOORS:
        with mock.patch.object(scaling, "FLOOR", floor):
            head = heads.solve_head(features.matrix[train], labels[train].tolist(), len(subset.classes), seed=seed)
        shares = head.probabilities(features.matrix[~train])
        own = np.clip(shares[np.arange(len(shares)), labels[~train]], 1e-12, 1)
        right = float((shares.argmax(axis=1) == labels[~train]).mean())
        found[str(floor)].append((right, float(-np.log(own).mean())))


if __name__ == "__main__":
    main()
