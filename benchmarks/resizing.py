"""Four ways to bring an image to the square input, by the accuracy of a frozen head, one JSON line.

    python benchmarks/resizing.py FOLDER

Stretched; the largest centred square; ImageNet's centre crop (87.5% of it); padded with grey. The head is solved on 70%
of the images and tested on 30%, mean of five stratified splits (or, where FOLDER has train/ and val/, on those).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measure import machine
from PIL import Image, ImageOps
from sklearn.model_selection import train_test_split

from tlkit.backbones.build import build_backbone
from tlkit.backbones.features import TOP, columns_of, forward_pass, tap_widths
from tlkit.images.folder import TRAIN, scan
from tlkit.images.read import read_image
from tlkit.linear.head import solve_head

BICUBIC = Image.Resampling.BICUBIC
WAYS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "stretched": lambda image: image.resize((224, 224), BICUBIC),
    "square": lambda image: ImageOps.fit(image, (224, 224), BICUBIC),
    "crop 87.5%": lambda image: ImageOps.fit(image, (256, 256), BICUBIC).crop((16, 16, 240, 240)),
    "padded": lambda image: ImageOps.pad(image, (224, 224), BICUBIC, color=(127, 127, 127)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    arguments = parser.parse_args()
    folder = scan(arguments.images)
    labels = np.asarray(folder.labels)
    every = np.arange(len(labels))
    if folder.has_splits:
        train = np.asarray([split == TRAIN for split in folder.splits])
        splits = [(every[train], every[~train])]
    else:
        splits = [
            tuple(train_test_split(every, test_size=0.3, stratify=labels, random_state=seed)) for seed in range(5)
        ]
    network = build_backbone("efficientnet-lite0")
    forward, columns = forward_pass(network), columns_of(tap_widths(network), [TOP])
    accuracy = {}
    for name, way in WAYS.items():
        pixels = [np.asarray(way(Image.fromarray(read_image(path)))) for path in folder.paths]
        batches = [forward(np.stack(pixels[start : start + 32])) for start in range(0, len(pixels), 32)]
        features = np.concatenate(batches)[:, columns]
        hits = []
        for train_rows, test_rows in splits:
            head = solve_head(features[train_rows], labels[train_rows].tolist(), len(folder.classes))
            hits.append((head.probabilities(features[test_rows]).argmax(axis=1) == labels[test_rows]).mean())
        accuracy[name] = round(float(np.mean(hits)), 4)
    print(json.dumps({"benchmark": "resizing", "images": folder.root.name, "accuracy": accuracy, **machine()}))


if __name__ == "__main__":
    main()
