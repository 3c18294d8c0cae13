"""``tlkit train --strategy freeze`` on a folder: first run (empty cache) and second, one JSON line.

python benchmarks/train_freeze.py sample_data/garden
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from measure import machine, run_tlkit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    images = arguments.images.resolve()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        env = {"TLKIT_CACHE": str(place / "cache")}
        command = ["train", images, "--strategy", "freeze", "--json", "--seed", arguments.seed]
        first, second = (run_tlkit(*command, cwd=place, env=env) for _ in range(2))
    metrics = first.result["metrics"]
    figures = {
        "benchmark": "train_freeze",
        "images": images.name,
        "pictures": sum(first.result["images"].values()),
        "val_accuracy": round(metrics["val_accuracy"], 4),
        "val_accuracy_ci95": [round(each, 3) for each in metrics["val_accuracy_ci95"]],
        "baseline_accuracy": round(metrics["baseline_accuracy"], 4),
        "same_metrics_twice": metrics == second.result["metrics"],
        "first_seconds": first.seconds,
        "second_seconds": second.seconds,
        "peak_mib": first.peak_mib,
        **machine(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
