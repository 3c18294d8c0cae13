"""What the similarity score stands on: confidence and divergence of data sets, of images of nothing, of halves.

    python benchmarks/similarity.py FOLDER FOLDER...

For each folder, scikit-learn's digits and photographs, the sample photographs, noise, colour blotches and plain areas:
the packaged network's mean confidence, the mean divergence of its activations, the score. For folders also the largest
difference of the scores of two random halves, of ten draws. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine
from numpy.typing import NDArray
from PIL import Image

MOST = 1000  # images of a folder
HALVES = 10
SIDE = 224
GARDEN = Path(__file__).resolve().parent.parent / "sample_data" / "garden"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="*")
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for images in (*arguments.images, GARDEN, write_digits(Path(place) / "digits")):
            found[images.resolve().name] = look(features_of(images), halves=True)
    for name, pixels in made_up().items():
        found[name] = look(forward(pixels))
    print(json.dumps({"benchmark": "similarity", "found": found, **machine()}))


def write_digits(folder: Path) -> Path:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 grey pixels, as class folders."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for number, (pixels, label) in enumerate(zip(found.images, found.target, strict=True)):
        file = folder / str(label) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).round().astype("uint8")).save(file)
    return folder


def features_of(images: Path) -> NDArray[np.float32]:
    """Features of some of a folder's images."""
    from tlkit.backbones.extractor import open_extractor
    from tlkit.backbones.features import compute_features
    from tlkit.images.folder import scan

    extractor = open_extractor("efficientnet-lite0")
    paths = scan(images).paths
    some = np.sort(np.random.default_rng(0).permutation(len(paths))[:MOST])
    names = [name for name, _ in extractor.taps]
    return compute_features([paths[i] for i in some], extractor, taps=names).matrix


def forward(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of images made up here."""
    from tlkit.backbones.extractor import open_extractor

    run = open_extractor("efficientnet-lite0").forward()
    return np.concatenate([run(pixels[i : i + 32]) for i in range(0, len(pixels), 32)])


def made_up() -> dict[str, NDArray[np.uint8]]:
    """Images that are in no folder, uint8 [n, 224, 224, 3]."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    blotches = [Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)) for _ in range(64)]
    plain = rng.integers(0, 256, (64, 1, 1, 3), dtype=np.uint8)
    parts = [
        photo[y : y + SIDE, x : x + SIDE]
        for photo in load_sample_images().images
        for x in (0, 208, 416)
        for y in (0, 203)
    ]
    return {
        "parts of two photographs": np.stack([part for part in parts if part.shape[:2] == (SIDE, SIDE)]),
        "noise": rng.integers(0, 256, (64, SIDE, SIDE, 3), dtype=np.uint8),
        "blotches": np.stack([np.asarray(each.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for each in blotches]),
        "plain areas": np.broadcast_to(plain, (64, SIDE, SIDE, 3)).copy(),
    }


def look(matrix: NDArray[np.float32], halves: bool = False) -> dict[str, Any]:
    """Figures of a matrix of features."""
    from tlkit.advisor.similarity import judge_similarity
    from tlkit.backbones.extractor import open_extractor
    from tlkit.backbones.source_statistics import class_names, packaged_source

    taps, source, names = open_extractor("efficientnet-lite0").taps, packaged_source(), class_names()
    whole = judge_similarity(matrix, taps, source, names)
    figures: dict[str, Any] = {
        "count": len(matrix),
        "score": whole.score,
        "confidence": whole.confidence,
        "divergence": round(float(np.mean(list(whole.divergence.values()))), 3),
        "classes": [name for name, _ in whole.classes],
    }
    if halves:
        apart = []
        for seed in range(HALVES):
            order = np.random.default_rng(seed).permutation(len(matrix))
            parts = np.array_split(order, 2)
            scores = [judge_similarity(matrix[part], taps, source, names).score for part in parts]
            apart.append(abs(scores[0] - scores[1]))
        figures["halves_apart_at_most"] = round(max(apart), 3)
    return figures


if __name__ == "__main__":
    main()
