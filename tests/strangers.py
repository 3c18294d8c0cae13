"""Attack everything that tlkit reads and a stranger may have written; by hand and for as long as you like.

    python tests/strangers.py                        2,000 damaged files of every kind, in one process after another
    python tests/strangers.py --each 200 --seed 7 --only state known

A damaged file may be used or refused, as a user's mistake is: nothing else. Each kind is tried in a process of its own,
which is watched: a try that takes over 20 seconds, or ends the process, counts, and so does the process's memory. An
input that breaks the promise is kept in ``broken-*`` in the current folder. `test_strangers.py` tries a few in pytest.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from mutations import flipped, mutated_graph, mutated_h5, mutated_json, mutated_zip

HANG = 20.0  # seconds
MEMORY = 700  # MiB, for a process that does not import TensorFlow; with it, that much more than before
Mutate = Callable[[bytes, random.Random], bytes]
CLASSES = 3


def prepare(place: Path) -> None:
    """Make whole files of every kind: a small backbone, its weights, a bundle, a plan, a run."""
    from conftest import image
    from digits import small_network

    from tlkit.cli.app import run

    model = small_network(rescaling=True)
    model.save(place / "small.keras")
    model.save_weights(place / "small.weights.h5")
    model.save(place / "old.h5")
    for number in range(CLASSES):
        (place / "images" / f"class{number}").mkdir(parents=True)
        for each in range(12):
            tint = tuple(90 * (number == channel) for channel in range(3))
            image(100 * number + each, (16, 16), tint).save(place / "images" / f"class{number}" / f"{each}.png")
    words = ["train", place / "images", "--backbone", place / "small.keras", "--strategy", "freeze"]
    assert run([*map(str, words), "--no-refit", "--output", str(place / "whole.tlkit")]) == 0
    _make_run(place)


def _make_run(place: Path) -> None:
    from tlkit.api.train.options import TrainOptions
    from tlkit.api.train.run_dir import Place, begin_run
    from tlkit.api.train.tuning_decisions import TuningDecisions
    from tlkit.finetune.checkpoint import save_state
    from tlkit.finetune.lr_search import Trial
    from tlkit.plan.plan import Flips, Plan
    from tlkit.plan.recipe import Recipe

    recipe = Recipe(steps=24, batch_size=4, learning_rate=0.01, evaluate_every=3, patience=24)
    plan = Plan("small", "imagenet", "fine-tune", 16, 0.2, "none", 0, reasons=("why",), recipe=recipe)
    run = begin_run(TrainOptions.make(place / "images", strategy="fine-tune"), plan, Place(place / "whole2.tlkit"))
    flips, trial = Flips(True, 30, 0.9, 0.9), Trial(3e-4, 1.0, 0.9, 0.1, False)
    run.decide(**TuningDecisions(recipe, flips, True, trial, 9.0).to_json(), images="0" * 64)
    row = {"step": 3, "epoch": 0.5, "learning_rate": 0.01, "loss": 1.0, "accuracy": 0.5}
    rows = [row | {"val_loss": 1.0, "val_accuracy": 0.5, "seconds": 1.0}] * 2
    note = {"step": 6, "seconds": 1.5, "rows": rows, "best_row": 1, "loss": 0.0, "right": 0.0, "since": 0}
    arrays = {f"{name}{number}": np.zeros(shape, np.float32) for name in ("now", "best") for number, shape in SHAPES}
    save_state(run.path, arrays, {"run": note})
    run.path.rename(place / "run")


SHAPES = tuple(enumerate([(3, 3, 3, 8), (8,), (8,), ()]))


@dataclass
class Attack:
    """Files of one kind, damaged and read.

    Attributes:
        place: Folder from `prepare`.
        work: An empty folder to work in.
    """

    place: Path
    work: Path

    def bundle(self, **changed: bytes) -> int:
        """Predict by a bundle with changed files, whose hashes are right."""
        from tlkit.bundle.save import manifest_digest

        folder = self.work / "m.tlkit"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.place / "whole.tlkit", folder)
        data = changed.pop("manifest", None)
        if data is None:
            manifest = json.loads((folder / "tlkit.json").read_text())
            for key, content in changed.items():
                name = {"known": "known.npz", "keras": "model.keras", "lite": "model.tflite", "plan": "plan.json"}[key]
                (folder / name).write_bytes(content)
                manifest["files"][name] = hashlib.sha256(content).hexdigest()
        else:
            with contextlib.suppress(ValueError, RecursionError):
                manifest = json.loads(data)
            (folder / "tlkit.json").write_bytes(data)
        with contextlib.suppress(Exception):  # as a forger would: right, if it is anything that can be signed
            manifest["digest"] = manifest_digest(manifest)
            (folder / "tlkit.json").write_text(json.dumps(manifest))
        images = self.place / "images" / "class0"
        if "plan" in changed:
            (self.work / "v.csv").unlink(missing_ok=True)
            return self.command("embed", images, "--model", folder, "--output", self.work / "v.csv")
        engine = ("--engine", "keras") if "keras" in changed else ()
        return self.command("predict", images, "--model", folder, "--json", *engine)

    @staticmethod
    def command(*words: object) -> int:
        """Run the command in this process; its exit code."""
        from tlkit.cli.app import run

        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            code = run([*map(str, words)])
        if code == 1:
            raise AssertionError(said.getvalue())
        return code

    def manifest(self, data: bytes) -> int:
        return self.bundle(manifest=data)

    def known(self, data: bytes) -> int:
        return self.bundle(known=data)

    def network(self, data: bytes) -> int:
        return self.bundle(keras=data)

    def lite(self, data: bytes) -> int:
        return self.bundle(lite=data)

    def graph(self, data: bytes) -> int:
        return self.bundle(lite=data)

    def plan(self, data: bytes) -> int:
        """Follow a plan up to the request, and embed by a bundle that has it."""
        from tlkit.api.recommend.plan_file import read_plan, request_of

        file = self.work / "plan.json"
        file.write_bytes(data)
        try:
            request_of(read_plan(file), self.place / "images", {"backbone": self.place / "small.keras"})
        finally:
            code = self.bundle(plan=data)
        return code

    def run(self, **changed: bytes) -> int:
        """Open a run and everything in it as ``--resume`` does."""
        from tlkit.api.train.run_dir import open_run
        from tlkit.api.train.tuning_decisions import TuningDecisions
        from tlkit.finetune.loop import _restore_run
        from tlkit.plan.recipe import Recipe

        folder = self.work / "whole2.tlkit-run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.place / "run", folder)
        for name, content in changed.items():
            (folder / {"state": "state.npz", "note": "run.json", "decisions": "decisions.json"}[name]).write_bytes(
                content
            )
        opened = open_run(folder)
        opened.may_replace()
        kept = opened.decisions()
        if "recipe" in kept:
            TuningDecisions.from_json(kept)
        variables = [_Variable(shape) for _, shape in SHAPES]
        trainer = SimpleNamespace(state=lambda: variables, trainable=SimpleNamespace(state=variables))
        job: Any = SimpleNamespace(trainer=trainer, recipe=Recipe(24, 4, 0.01))
        _restore_run(job, folder)
        return 0

    def state(self, data: bytes) -> int:
        return self.run(state=data)

    def note(self, data: bytes) -> int:
        return self.run(note=data)

    def decisions(self, data: bytes) -> int:
        return self.run(decisions=data)

    def weights(self, data: bytes, name: str = "small.weights.h5") -> int:
        """Fill the small network from a file of weights."""
        from tlkit.backbones.own.keras_file import file_backbone
        from tlkit.backbones.weights import loading

        file = self.work / name
        file.write_bytes(data)
        if not hasattr(self, "_filled"):
            from digits import small_network

            self._filled = small_network(rescaling=True)
            self._row = file_backbone(self.place / "small.keras")
        with patch.object(loading, "download", no_download):
            loading.load_weights(self._filled, self._row, file)
        return 0

    def old(self, data: bytes) -> int:
        return self.weights(data, "old.h5")

    def backbone(self, data: bytes) -> int:
        """Build an own backbone from a ``.keras`` file."""
        from tlkit.backbones.own.keras_file import file_backbone
        from tlkit.backbones.own.rebuild import model_from_file

        file = self.work / "own.keras"
        file.write_bytes(data)
        row = file_backbone(file)
        model_from_file(row, row.input_size if row.fixed else 16)
        return 0


def no_download(backbone: object) -> NoReturn:
    from tlkit.errors import TlkitError

    raise TlkitError("no download in tests")


class _Variable:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.value = np.zeros(shape, np.float32)

    def assign(self, value: np.ndarray) -> None:
        self.value = np.array(value, np.float32)


KINDS: dict[str, tuple[str, Mutate]] = {
    "manifest": ("whole.tlkit/tlkit.json", mutated_json),
    "plan": ("whole.tlkit/plan.json", mutated_json),
    "known": ("whole.tlkit/known.npz", mutated_zip),
    "lite": ("whole.tlkit/model.tflite", flipped),
    "graph": ("whole.tlkit/model.tflite", mutated_graph),
    "network": ("whole.tlkit/model.keras", mutated_zip),
    "note": ("run/run.json", mutated_json),
    "decisions": ("run/decisions.json", mutated_json),
    "state": ("run/state.npz", mutated_zip),
    "weights": ("small.weights.h5", mutated_h5),
    "old": ("old.h5", mutated_h5),
    "backbone": ("small.keras", mutated_zip),
}
"""The file that is damaged and how, for each method of `Attack`."""


def outcome(attack: Attack, kind: str, data: bytes) -> str:
    """Read damaged data: "used" or "refused"; any other outcome is raised."""
    from tlkit.errors import TlkitError

    try:
        code = getattr(attack, kind)(data)
    except (TlkitError, MemoryError):
        return "refused"
    return "used" if code == 0 else "refused"


def damage(place: Path, kind: str, seed: int) -> bytes:
    """The damaged file of a kind that a seed gives."""
    file, mutate = KINDS[kind]
    return mutate((place / file).read_bytes(), random.Random(f"{kind}-{seed}"))


def work(place: Path, kind: str, first: int, count: int) -> None:
    """Try so many seeds in this process; a line for each on stdout: seed, outcome, MiB."""
    os.environ["TLKIT_CACHE"] = str(place / "cache")
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with tempfile.TemporaryDirectory() as folder:
        attack = Attack(place, Path(folder))
        outcome(attack, kind, (place / KINDS[kind][0]).read_bytes())  # imports what it needs
        print("start", "", peak(), file=lines)
        for seed in range(first, first + count):
            print("try", seed, peak(), file=lines)
            data = b""
            try:
                data = damage(place, kind, seed)
                found = outcome(attack, kind, data)
            except BaseException as error:
                found = f"broken: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
                Path(f"broken-{kind}-{seed}").write_bytes(data)
                Path(f"broken-{kind}-{seed}.txt").write_text(traceback.format_exc())
            print(found, seed, peak(), file=lines)


def peak() -> int:
    """The most memory that this process has had, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def campaign(place: Path, kind: str, count: int, seed: int) -> int:
    """Try so many damaged files of a kind; print what came of it and return how often the promise was broken."""
    counts: Counter[str] = Counter()
    first, base, most = seed, 0, 0
    while first < seed + count:
        words = [sys.executable, __file__, "--worker", str(place), kind, str(first), str(seed + count - first)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        trying, hung, started = first, threading.Event(), False

        def give_up(running: Any = process, flag: Any = hung) -> None:
            flag.set()
            running.kill()

        timer = threading.Timer(120, give_up)
        timer.start()
        for line in process.stdout:
            timer.cancel()
            started = True
            what, number, memory = line.rstrip("\n").rsplit(" ", 2)
            timer = threading.Timer(HANG, give_up)
            timer.start()
            if what == "start":
                base = int(memory)
            elif what == "try":
                trying = int(number)
            else:
                counts[what.split(":")[0]] += 1
                most = max(most, int(memory))
                if what.startswith("broken"):
                    print(f"  {kind} {number}: {what}", flush=True)
        timer.cancel()
        code = process.wait()
        if not started:
            raise SystemExit(f"{kind}: the process does not start: {' '.join(words)}")
        first = trying + 1
        if code and not hung.is_set():
            counts["broken"] += 1
            print(f"  {kind} {trying}: the process ended with {code}", flush=True)
        elif hung.is_set():
            counts["hung"] += 1
            print(f"  {kind} {trying}: over {HANG:g} s", flush=True)
    over = max(0, most - max(MEMORY, base + MEMORY if base > 300 else 0))
    said = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    print(f"{kind}: {sum(counts.values())} files, {said}; {most} MiB at most, {base} before", flush=True)
    return counts["broken"] + counts["hung"] + bool(over)


def main() -> None:
    parser = argparse.ArgumentParser(description="attack everything that a stranger may have written")
    parser.add_argument("--each", type=int, default=2000, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        place, kind, first, count = options.worker
        work(Path(place), kind, int(first), int(count))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLKIT_CACHE"] = str(Path(folder) / "cache")
        with contextlib.redirect_stdout(io.StringIO()):
            prepare(Path(folder))
        sys.exit(sum(campaign(Path(folder), kind, options.each, options.seed) for kind in options.only) > 0)


if __name__ == "__main__":
    main()
