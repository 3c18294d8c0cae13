"""Four shards, two at a time, one of them killed and repeated, against one plain run of the same command.

    python benchmarks/shards.py FOLDER [FOLDER ...] --model garden.tlkit --images 10000 --command predict

Links images of the folders until there are enough, runs the command plain and in shards with one core each, merges the
parts, compares the files byte for byte, and prints one JSON line: seconds of both, and their ratio. The killed shard is
repeated outside the timed part. With ``--command check``, JSON documents are compared.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from datetime import date
from pathlib import Path

COMMAND = str(Path(sysconfig.get_path("scripts")) / "tlkit")
SUFFIXES = (".jpg", ".jpeg", ".png")
SHARDS, AT_ONCE = 4, 2


def link(folders: list[Path], target: Path, count: int) -> None:
    """Link images until there are enough, each folder's below a class of its own."""
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]
    for number in range(count):
        file = files[number % len(files)]
        place = target / file.parent.name / f"{number // len(files)}-{number % len(files)}{file.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, place) if file.stat().st_dev == target.stat().st_dev else place.symlink_to(file)


def environment(place: Path, name: str) -> dict[str, str]:
    """A cache of its own: no run uses what another computed."""
    return {**os.environ, "TLKIT_CACHE": str(place / f"cache-{name}"), "TLKIT_CACHE_SIZE": "40GB"}


def timed(commands: list[list[str]], place: Path, at_once: int) -> float:
    """Run commands, so many at a time; return the seconds until the last has ended."""
    start, left, running = time.perf_counter(), list(enumerate(commands)), []
    while left or running:
        while left and len(running) < at_once:
            number, words = left.pop(0)
            with (place / f"log-{number}.txt").open("w") as log:
                env = environment(place, f"{'-'.join(words[-2:]).replace('/', '-')}")
                running.append(subprocess.Popen(words, stdout=log, stderr=log, env=env, cwd=place))
        time.sleep(0.02)
        for process in [each for each in running if each.poll() is not None]:
            if process.returncode:
                sys.exit(f"{process.args} ended with {process.returncode}")
            running.remove(process)
    return time.perf_counter() - start


def killed(words: list[str], place: Path, after: float) -> None:
    """Run a command and kill it some seconds later."""
    with (place / "log-killed.txt").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment(place, "killed"), cwd=place)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--command", choices=["predict", "embed", "check"], default="predict")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as made:
        place = Path(made)
        link(asked.folders, place / "images", asked.images)
        model = [] if asked.model is None else ["--model", str(asked.model.resolve())]
        base = [COMMAND, asked.command, "images", *model]
        output = "--report" if asked.command == "check" else "--output"
        plain = timed([[*base, output, "plain.csv"]], place, 1)
        shards = [
            [*base, "--workers", "1", output, "rows.csv", "--shard", f"{number}/{SHARDS}"]
            for number in range(1, SHARDS + 1)
        ]
        seconds = timed(shards, place, AT_ONCE)
        start = time.perf_counter()
        subprocess.run(
            [COMMAND, "merge", *map(str, place.glob("rows.csv.part-*")), "--output", "rows.csv"], cwd=place, check=True,
            capture_output=True,
        )  # fmt: skip
        merging = time.perf_counter() - start
        same = filecmp.cmp(place / "plain.csv", place / "rows.csv", shallow=False)
        (place / "rows.csv").unlink()
        part = place / f"rows.csv.part-2-of-{SHARDS}"
        part.unlink()
        killed(shards[1], place, max(3.0, seconds / SHARDS))
        was_killed = not part.exists()
        resume = ["--resume"] if asked.command == "predict" else []
        timed([[*shards[1][:-2], *resume, *shards[1][-2:]]], place, 1)
        subprocess.run(
            [COMMAND, "merge", str(place), "--output", "rows.csv"], cwd=place, check=True, capture_output=True
        )
        again = filecmp.cmp(place / "plain.csv", place / "rows.csv", shallow=False)
        print(
            json.dumps(
                {
                    "command": asked.command,
                    "images": asked.images,
                    "plain_s": round(plain, 1),
                    "shards_s": round(seconds, 1),
                    "merge_s": round(merging, 1),
                    "ratio": round((seconds + merging) / plain, 3),
                    "same": same,
                    "killed": was_killed,
                    "same_after_kill": again,
                    "cores": len(os.sched_getaffinity(0)),
                    "machine": platform.machine(),
                    "date": str(date.today()),
                }
            )
        )


if __name__ == "__main__":
    main()
