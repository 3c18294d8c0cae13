"""Whether ``tlkit train --time-budget`` on FOLDER ends in time, one JSON line; exit code 1 if not.

    python benchmarks/time_budget.py FOLDER

The budget covers everything from the start of the process; up to a tenth more may be taken, and at least half of it
is used.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from measure import fresh_cache, machine, run_tlkit

OPTIONS = ("--strategy", "fine-tune", "--image-size", "32", "--batch-size", "16", "--learning-rate", "1e-3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--seconds", type=float, default=25)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        budget = ("--epochs", "100000", "--time-budget", f"{arguments.seconds}s", "--json")
        command = ("train", arguments.images.resolve(), *OPTIONS, *budget)
        ran = run_tlkit(*command, cwd=place, env=fresh_cache(place))
    tuning = ran.result["tuning"] or {}
    kept = 0.5 * arguments.seconds < ran.seconds < 1.1 * arguments.seconds
    figures = {
        "benchmark": "time_budget",
        "images": arguments.images.name,
        "budget_seconds": arguments.seconds,
        "seconds": ran.seconds,
        "steps": tuning.get("steps"),
        "stopped": tuning.get("stopped"),
        "kept": kept,
    }
    print(json.dumps({**figures, **machine()}))
    sys.exit(not kept)


if __name__ == "__main__":
    main()
