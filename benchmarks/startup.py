"""How long until ``tlkit`` says something: commands that only print, and ``tlkit train`` on FOLDER, one JSON line.

    python benchmarks/startup.py FOLDER

Medians of seven fresh processes, each with an empty cache; exit code 1 where one is above its bound. Of ``tlkit
train``, which is ended then: seconds to its first line on stderr and to the one that says that images are worked on.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path

from measure import TLKIT, Watched, fresh_cache, machine, watch

COMMANDS = ("--help", "--version", "backbones", "check --help")
BOUNDS = {"--help": 0.5, "backbones": 0.5}  # seconds, on a machine that does nothing else
AT_WORK = "Features"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ran = {command: runs(command.split(), place, arguments.runs) for command in COMMANDS}
        train = []
        if arguments.images:
            command = ["train", str(arguments.images.resolve()), "--strategy", "freeze"]
            train = runs(command, place, arguments.runs, until=AT_WORK)
    medians = {command: seconds(each) for command, each in ran.items()}
    above = [command for command, bound in BOUNDS.items() if (medians[command] or math.inf) >= bound]
    figures = {
        "benchmark": "startup",
        "seconds": {f"tlkit {command}": median for command, median in medians.items()},
        "bounds": {f"tlkit {command}": bound for command, bound in BOUNDS.items()},
        "above_bound": [f"tlkit {command}" for command in above],
        "peak_mib": {f"tlkit {command}": round(max(one.peak_mib for one in each)) for command, each in ran.items()},
    }
    if train:
        figures["images"] = arguments.images.name
        figures["train_first_line_seconds"] = seconds_to("", train)
        figures["train_at_work_seconds"] = seconds_to(AT_WORK, train)
    print(json.dumps({**figures, **machine()}))
    sys.exit(bool(above))


def runs(command: list[str], place: Path, count: int, until: str | None = None) -> list[Watched]:
    """The command so many times, each with an empty cache."""
    return [watch([TLKIT, *command], cwd=place, env=fresh_cache(place), until=until) for _ in range(count)]


def seconds(ran: list[Watched]) -> float | None:
    """Median seconds; None if a run failed, as where there is no such command."""
    if any(each.code for each in ran):
        return None
    return round(statistics.median(each.seconds for each in ran), 3)


def seconds_to(beginning: str, ran: list[Watched]) -> float | None:
    """Median seconds to the first line on stderr that begins so; None if a run had none."""
    moments = [next((at for at, line in each.err if line.startswith(beginning)), None) for each in ran]
    found = [moment for moment in moments if moment is not None]
    return round(statistics.median(found), 3) if len(found) == len(ran) else None


if __name__ == "__main__":
    main()
