"""``tlkit recommend`` against the feature pass of ``tlkit train --strategy freeze``: one JSON line.

    python benchmarks/recommend_speed.py FOLDER --count 2500

Images are drawn from FOLDER's classes by chance. Both commands start with an empty cache, in turn; allowed is 1.2
times the pass, in which starting is not contained.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
from measure import PLAIN, fresh_cache, images_below, machine, run_tlkit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=2500)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    passes, recommended, shares = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        images = draw(arguments.images.resolve(), place / arguments.images.resolve().name, arguments.count)
        for pair in range(arguments.pairs):
            bundle = place / f"{pair}.tlkit"
            freeze = ("train", images, *PLAIN, "--output", bundle, "--json")
            trained = run_tlkit(*freeze, cwd=place, env=fresh_cache(place))
            advised = run_tlkit(
                "recommend", images, *PLAIN[2:-1], "--no-pilot", "--json", cwd=place, env=fresh_cache(place)
            )
            passes.append(trained.result["seconds"]["features"])
            recommended.append(advised.seconds)
            shares.append(advised.result["seconds"]["features"])
    print(
        json.dumps(
            {
                "benchmark": "recommend_speed",
                "images": arguments.images.resolve().name,
                "count": arguments.count,
                "feature_pass_seconds": statistics.median(passes),
                "recommend_seconds": statistics.median(recommended),
                "of_it_features": statistics.median(shares),
                "to_pass": round(statistics.median(np.divide(recommended, passes).tolist()), 3),
                **machine(),
            }
        )
    )


def draw(images: Path, place: Path, count: int) -> Path:
    """Links to so many images of a folder, in the same class folders."""
    found = images_below(images)
    for index in np.random.default_rng(0).permutation(len(found))[:count]:
        link = place / found[index].relative_to(images)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(found[index])
    return place


if __name__ == "__main__":
    main()
