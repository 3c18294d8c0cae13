"""What the pooled outputs of all stages cost on top of those of the last feature map alone, one JSON line.

    python benchmarks/taps.py FOLDER --count 200 --pairs 7

The packaged network runs on the same decoded images in turn, once with all taps and once cut to the top.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from measure import machine

from tlkit.backbones.engines import LiteRTNetwork
from tlkit.backbones.litert.efficientnet_lite import packaged_graph
from tlkit.backbones.litert.graph import Graph
from tlkit.images.folder import scan
from tlkit.images.read import read_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=7)
    arguments = parser.parse_args()
    paths = scan(arguments.images).paths
    pixels = np.stack([read_image(path, (224, 224)) for path in paths[:: max(1, len(paths) // arguments.count)]])
    whole = packaged_graph("lite0", 224)[0]
    graph = Graph(whole)
    networks = {"all": LiteRTNetwork(whole), "top": LiteRTNetwork(graph.finish(graph.parts()[-1]))}
    for network in networks.values():
        network(pixels[:8])
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(arguments.pairs):
        for name, network in networks.items():
            start = time.perf_counter()
            network(pixels)
            seconds[name].append(time.perf_counter() - start)
    ratios = [one / other for one, other in zip(seconds["all"], seconds["top"], strict=True)]
    figures = {
        "benchmark": "taps",
        "images": arguments.images.name,
        "count": len(pixels),
        "all_per_second": round(len(pixels) / statistics.median(seconds["all"]), 1),
        "top_per_second": round(len(pixels) / statistics.median(seconds["top"]), 1),
        "ratio": round(statistics.median(ratios), 3),
    }
    print(json.dumps({**figures, **machine()}))


if __name__ == "__main__":
    main()
