"""What keeping features as float16 instead of float32 does to a frozen head, one JSON line.

    python benchmarks/store_precision.py FOLDER [FOLDER...]

Features are computed once, by the embedded network through LiteRT. The head is logistic regression (C = 0.01) on the
standardised top features, cross-validated on the same five stratified folds for both. Relative errors are those of
values that float16 holds at its full precision (2**-14 and more); smaller ones keep an absolute error below 2**-25.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from measure import SIDE, cores, lite_network, machine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlkit.images.folder import scan
from tlkit.images.read import read_image

TOP = 1280  # columns, the last ones
BATCH = 8
LEAST_NORMAL = 2.0**-14


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=1500, help="at most, of each folder")
    arguments = parser.parse_args()
    folders = {images.resolve().name: compare(images, arguments.count) for images in arguments.images}
    print(json.dumps({"benchmark": "store_precision", "folders": folders, **machine()}))


def compare(images: Path, most: int) -> dict[str, Any]:
    """Both precisions on one folder, and how far apart they are."""
    folder = scan(images)
    chosen = np.random.default_rng(0).permutation(len(folder.files))[:most]
    paths, labels = folder.paths, np.asarray(folder.labels)[chosen]
    single = features([paths[index] for index in chosen])
    half = single.astype(np.float16)
    apart = np.abs(half.astype(np.float32) - single)
    normal = np.abs(single) >= LEAST_NORMAL
    return {
        "count": len(chosen),
        "float32": scores(single, labels),
        "float16": scores(half.astype(np.float32), labels),
        "largest_value": round(float(np.abs(single).max()), 3),
        "largest_relative_error": float(f"{(apart[normal] / np.abs(single[normal])).max():.3g}"),
        "share_below_normal": round(float(np.mean(~normal & (single != 0))), 5),
        "bytes_a_image": {"float32": single.shape[1] * 4, "float16": single.shape[1] * 2},
    }


def features(paths: list[Path]) -> np.ndarray:
    """float32 [images, columns]; the last batch is filled up and what was added dropped."""
    network = lite_network(BATCH, cores())
    rows = []
    with ThreadPoolExecutor(cores()) as pool:
        pixels = pool.map(lambda path: read_image(path, (SIDE, SIDE)), paths)
        while batch := list(islice(pixels, BATCH)):
            rows.append(network(np.stack([*batch, *[batch[-1]] * (BATCH - len(batch))]))[: len(batch)])
    return np.concatenate(rows)


def scores(matrix: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Cross-validated accuracy and log loss of a head on the top features."""
    top = matrix[:, -TOP:].astype(np.float64)
    found = np.zeros((len(labels), labels.max() + 1))
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(top, labels):
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(top[train], labels[train])
        found[test] = head.predict_proba(top[test])
    return {
        "accuracy": round(float(np.mean(found.argmax(axis=1) == labels)), 5),
        "log_loss": round(float(log_loss(labels, found)), 6),
    }


if __name__ == "__main__":
    main()
