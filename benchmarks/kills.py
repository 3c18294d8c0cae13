"""A fine-tuning run killed at random moments and resumed, against one that was left alone: one JSON line.

    python benchmarks/kills.py FOLDER --kills 20 --image-size 64 --epochs 20

Each process gets SIGKILL at a moment drawn uniformly from what is left of the run, from its start on: while images
are decoded, while the learning rate is chosen, in a step, while a state or the bundle is written. What is left is
judged by the saved state and the uninterrupted run. Where nothing was saved to go on with, the run begins anew. A
round ends with a finished bundle, which is compared with the uninterrupted run's; further rounds, each with an empty
cache, follow until there were enough kills.

``corrupt`` counts kills after which there was something that should not be: a bundle that is not whole, a state that
cannot be read, something half-written beside the bundle whose name does not begin with a dot. ``stuck`` counts runs
that could neither be resumed nor begun anew. Ends with exit code 1 unless all is well.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from measure import TLKIT, fresh_cache, machine, run_tlkit

COMPARED = ("val_accuracy", "val_loss")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=float, help="default: that of tlkit")
    parser.add_argument("--strategy", default="fine-tune")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    begin: list[object] = ["train", arguments.images.resolve(), "--strategy", arguments.strategy]
    begin += ["--image-size", arguments.image_size, "--json"]
    begin += ["--epochs", arguments.epochs] if arguments.epochs is not None else []
    rng, start = random.Random(arguments.seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        reference = run_tlkit(*begin, "--output", "reference.tlkit", cwd=place, env=fresh_cache(place))
        count: Counter[str] = Counter()
        stages: Counter[str] = Counter()
        comparisons = []
        while not comparisons or count["kills"] < arguments.kills:
            work = place / f"round{len(comparisons)}"
            work.mkdir()
            once = Round(work, begin, reference.seconds, reference.result, fresh_cache(place), rng)
            result = once.play(arguments.kills - count["kills"])
            count += once.count
            stages += once.stages
            comparisons.append(compare(place / "reference.tlkit", reference.result, work / "killed.tlkit", result))
            shutil.rmtree(work)
    figures = {
        "benchmark": "kills",
        "images": arguments.images.resolve().name,
        "strategy": arguments.strategy,
        "image_size": arguments.image_size,
        "steps": reference.result["tuning"]["steps"],
        "tuned_kept": reference.result["tuning"]["kept"],
        "rounds": len(comparisons),
        **{name: count[name] for name in ("kills", "resumes", "starts_anew", "finished_first", "corrupt", "stuck")},
        "killed_while": dict(stages),
        "metrics_equal": all(not any(each["apart"].values()) for each in comparisons),
        "metrics_apart": {name: max(each["apart"][name] for each in comparisons) for name in COMPARED},
        "weights_equal": all(each["weights_apart"] == 0 for each in comparisons),
        "weights_apart": max(each["weights_apart"] for each in comparisons),
        "history_equal": all(each["history_equal"] for each in comparisons),
        "reference_seconds": reference.seconds,
        "seconds": round(time.perf_counter() - start, 1),
        **machine(),
    }
    print(json.dumps(figures))
    well = figures["metrics_equal"] and figures["weights_equal"] and figures["history_equal"]
    sys.exit(0 if well and not count["corrupt"] and not count["stuck"] else 1)


@dataclass
class Round:
    """One run from its start to a finished bundle, with kills on the way.

    Attributes:
        place: A folder of its own.
        begin: The command line of a new run, but for its output.
        seconds: What an uninterrupted run takes.
        reference: What an uninterrupted run printed.
        env: Names the cache.
        rng: Draws the moments.
        count: Kills, resumes and the rest.
        stages: How far the run had got at each kill.
    """

    place: Path
    begin: list[object]
    seconds: float
    reference: dict[str, Any]
    env: dict[str, str]
    rng: random.Random
    count: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)

    @property
    def target(self) -> Path:
        """Where the bundle goes."""
        return self.place / "killed.tlkit"

    @property
    def run_folder(self) -> Path:
        """Where the run keeps its state."""
        return self.place / "killed.tlkit-run"

    def play(self, kills: int) -> dict[str, Any] | None:
        """Kill and resume, at most so often, until there is a bundle; gives what the last process printed."""
        printed = self._process(kills)
        # a run that was killed between its bundle and its end is resumed too
        while not self.target.exists() or self.run_folder.exists():
            printed = self._process(kills)
        return printed

    def _process(self, kills: int) -> dict[str, Any] | None:
        """One process, killed unless it ends before or there were enough kills."""
        command: list[object] = ["train", "--resume", self.run_folder.name, "--json"]
        if not self.run_folder.exists():
            command = [*self.begin, "--output", self.target.name]
        limit = self.rng.uniform(0, self._left()) if self.count["kills"] < kills else None
        process = subprocess.Popen(
            [str(each) for each in (TLKIT, *command)],
            cwd=self.place,
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            self._kill(process)
            return None
        self.count["finished_first"] += limit is not None
        if process.returncode == 0:
            return dict(json.loads(out))
        self.count["stuck"] += 1
        print(f"{' '.join(map(str, command))} ended with {process.returncode}\n{err[-2000:]}", file=sys.stderr)
        # a bundle is whole, as was checked after the kill, and ends the round; else the run begins anew
        shutil.rmtree(self.run_folder, ignore_errors=True)
        return None

    def _kill(self, process: subprocess.Popen[str]) -> None:
        """End the process and its children at once, and look at what it left."""
        os.killpg(process.pid, signal.SIGKILL)  # its own session, so its own group
        process.communicate()
        self.count["kills"] += 1
        problems, step = self._problems()
        for problem in problems:
            print(f"after kill {self.count['kills']}: {problem}", file=sys.stderr)
        self.count["corrupt"] += bool(problems)
        whole, begun = self.target.exists(), self.run_folder.exists()
        self.count["resumes"] += begun
        self.count["starts_anew"] += not begun and not whole
        if whole:
            self.stages["from the bundle on"] += 1
        elif begun:
            self.stages["from the first state on" if step else "before the first state"] += 1
        else:
            self.stages["before the run's folder"] += 1

    def _problems(self) -> tuple[list[str], int]:
        """What should not be, and the step that was saved last."""
        from tlkit.bundle.load import load
        from tlkit.errors import TlkitError
        from tlkit.finetune.checkpoint import load_state

        problems, step = [], 0
        if self.target.exists():
            try:
                load(self.target)
            except TlkitError as error:
                problems.append(error.message)
        if self.run_folder.exists():
            try:
                found = load_state(self.run_folder)
                step = found[1]["run"]["step"] if found else 0
            except TlkitError as error:
                problems.append(error.message)
        known = (self.target.name, self.run_folder.name)
        for path in self.place.iterdir():
            if path.name not in known and not path.name.startswith("."):
                problems.append(f"left behind: {path.name}")
        return problems, step

    def _left(self) -> float:
        """Seconds that the next process is expected to take."""
        training = self.reference["seconds"]["training"]
        done = self._problems()[1] / max(1, self.reference["tuning"]["steps"]) if self.run_folder.exists() else 0.0
        return float(self.seconds - training * min(1.0, done))


def compare(one: Path, printed: dict[str, Any], other: Path, its: dict[str, Any] | None) -> dict[str, Any]:
    """How far a finished bundle is from the uninterrupted run's."""
    from tlkit.bundle.load import load

    first, second = load(one), load(other)
    metrics = second.manifest["metrics"] if its is None else its["metrics"]
    weights = [bundle.model.get_weights() for bundle in (first, second)]
    alike = [a.shape for a in weights[0]] == [b.shape for b in weights[1]]
    apart = [float(np.abs(a - b).max()) for a, b in zip(*weights, strict=True)] if alike else [float("inf")]
    return {
        "apart": {name: abs(printed["metrics"][name] - metrics[name]) for name in COMPARED},
        "weights_apart": max(apart),
        "history_equal": history(one) == history(other),
    }


def history(bundle: Path) -> list[dict[str, str]]:
    """Rows of ``history.csv`` without what a clock says."""
    with (bundle / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
