"""How often 95% intervals of a paired difference hold the truth, one JSON line: tlkit's and a plain bootstrap's.

    python benchmarks/compare_intervals.py

A thousand sets of images are drawn for each number of images and each share of images that only one classifier gets
right.
"""

from __future__ import annotations

import json
from functools import cache

import numpy as np
from measure import machine

from tlkit.evaluation.paired import DRAWS, difference_interval

SIZES = (20, 50, 100, 300, 1000)
SHARES = ((0.01, 0.01), (0.02, 0.05), (0.05, 0.05), (0.05, 0.15), (0.1, 0.1), (0.02, 0.2), (0, 0.05), (0, 0.2))
SETS = 1000


@cache
def bootstrap(only_a: int, only_b: int, images: int) -> tuple[float, float]:
    """The percentiles of a bootstrap alone."""
    shares = np.array([only_a, only_b, images - only_a - only_b]) / images
    drawn = np.random.default_rng(0).multinomial(images, shares, size=DRAWS)
    low, high = np.percentile((drawn[:, 1] - drawn[:, 0]) / images, [2.5, 97.5])
    return float(low), float(high)


@cache
def ours(only_a: int, only_b: int, images: int) -> tuple[float, float]:
    return difference_interval(only_a, only_b, images)


def main() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for images in SIZES:
        held = {"tlkit": [], "bootstrap": []}
        for share_a, share_b in SHARES:
            sets = rng.multinomial(images, [share_a, share_b, 1 - share_a - share_b], size=SETS).tolist()
            for name, interval in (("tlkit", ours), ("bootstrap", bootstrap)):
                ends = [interval(only_a, only_b, images) for only_a, only_b, _ in sets]
                truth = share_b - share_a
                held[name].append(np.mean([low - 1e-12 <= truth <= high + 1e-12 for low, high in ends]))
        for name, shares in held.items():
            worst, mean = round(float(min(shares)), 3), round(float(np.mean(shares)), 3)
            rows.append({"interval": name, "images": images, "worst": worst, "mean": mean})
    print(json.dumps({"benchmark": "compare_intervals", **machine(), "rows": rows}))


if __name__ == "__main__":
    main()
