"""``tlkit train --strategy freeze`` on a folder: first run (empty cache) and second, one JSON line.

    python benchmarks/train_freeze.py sample_data/garden --floor --memory

``--floor`` also measures what no tool can go below (floor.py), in turn with as many first runs, each with a cache of
its own; allowed are 1.3 times the floor and 12 s. ``--memory`` also trains on the same images ten times over, each
under different bytes, and compares the peaks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import floor
from measure import PLAIN, Run, fill, fresh_cache, images_below, machine, run_tlkit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--pairs", type=int, default=3, help="of floor and first run")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--times", type=int, default=10, help="how often the images are taken for --memory")
    arguments = parser.parse_args()
    images = arguments.images.resolve()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        env = fresh_cache(place)
        rounds = [floor.measure_once(images)] if arguments.floor else []
        first, second = (train(images, place, env, arguments.seed) for _ in range(2))
        firsts = [first]
        while len(rounds) not in (0, arguments.pairs):
            rounds.append(floor.measure_once(images))
            firsts.append(train(images, place, fresh_cache(place), arguments.seed))
        more = against_floor(rounds, images, firsts) if rounds else {}
        if arguments.memory:
            more |= memory(images, place, first, arguments.times, arguments.seed)
    metrics = first.result["metrics"]
    figures = {
        "benchmark": "train_freeze",
        "images": images.name,
        "count": sum(first.result["images"].values()),
        "val_accuracy": round(metrics["val_accuracy"], 4),
        "val_accuracy_ci95": [round(each, 3) for each in metrics["val_accuracy_ci95"]],
        "baseline_accuracy": round(metrics["baseline_accuracy"], 4),
        "same_metrics_twice": metrics == second.result["metrics"],
        "first_seconds": round(statistics.median(each.seconds for each in firsts), 2),
        "second_seconds": second.seconds,
        "peak_mib": first.peak_mib,
        **more,
        **machine(),
    }
    print(json.dumps(figures))


def train(images: Path, place: Path, env: dict[str, str], seed: int) -> Run:
    return run_tlkit("train", images, *PLAIN, "--test-split", 0, "--json", "--seed", seed, cwd=place, env=env)


def against_floor(rounds: list[floor.Round], images: Path, firsts: list[Run]) -> dict[str, Any]:
    """The floor, what it allows the first run, and how much of that is left: 1 and more is met."""
    least = floor.summary(rounds, len(images_below(images)))
    allowed = 1.3 * least["floor_seconds"] + 12
    measured = statistics.median(each.seconds for each in firsts)
    return {"floor": least, "allowed_seconds": round(allowed, 2), "allowed_to_measured": round(allowed / measured, 3)}


def memory(images: Path, place: Path, once: Run, times: int, seed: int) -> dict[str, Any]:
    """Peak memory of training on the same images so many times over."""
    many = place / "many"
    fill(many, images, times * len(images_below(images)))
    ran = train(many, place, fresh_cache(place), seed)
    return {
        "many_images": sum(ran.result["images"].values()),
        "many_seconds": ran.seconds,
        "many_peak_mib": ran.peak_mib,
        "more_mib": ran.peak_mib - once.peak_mib,
    }


if __name__ == "__main__":
    main()
