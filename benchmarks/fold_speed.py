"""Stratified folds that keep groups whole, made here and by scikit-learn: one JSON line.

    python benchmarks/fold_speed.py --count 10000

Of so many images in 50 classes, one in sixteen has a copy.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from measure import machine


def main() -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    from tlkit.linear.folds import make_folds

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    labels = np.random.default_rng(0).integers(0, 50, count)
    groups = np.arange(count)
    groups[: count // 16] //= 2
    ours, theirs = [], []
    for seed in range(3):
        start = time.perf_counter()
        folds = make_folds(labels, groups.tolist(), seed)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        list(StratifiedGroupKFold(len(folds), shuffle=True, random_state=seed).split(labels, labels, groups))
        theirs.append(time.perf_counter() - start)
    print(
        json.dumps(
            {
                "benchmark": "fold_speed",
                "count": count,
                "seconds": round(float(np.median(ours)), 3),
                "scikit_learn_seconds": round(float(np.median(theirs)), 3),
                **machine(),
            }
        )
    )


if __name__ == "__main__":
    main()
