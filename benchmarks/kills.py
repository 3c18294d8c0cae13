"""Commands killed at random moments and run again, against commands left alone: one JSON line a trial.

    python benchmarks/kills.py FOLDER kills.jsonl --kills 220
    python benchmarks/kills.py FOLDER kills.jsonl --kills 220 --minutes 5   # goes on where the table ends
    python benchmarks/kills.py --report kills.jsonl

A trial starts with an empty folder, an empty cache and an empty TMPDIR. Its command gets SIGKILL at a moment drawn
uniformly from the time that an undisturbed run takes, and is started again, up to three times; every other kill
hits the process alone and not the children that it started. Then the command is run to its end, as a user would do it:
``train --resume`` where there is an unfinished run, ``--overwrite`` where a usable bundle was saved before the end; a
file that was complete before the kill is set aside, and must equal the next one. What comes out must equal what
undisturbed runs give, bit by bit but for dates and times, and nothing else may be left in the folder, in the cache, in
TMPDIR or in HOME. Two undisturbed runs per command say first that they agree with each other.

With ``--signals``, the signal is SIGINT, SIGTERM or SIGHUP, which the command must answer with exit code 130.

`backbones fetch` asks a server of this process on the loopback interface, for a file with a checksum and for one
without.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopback import FETCH, serving
from measure import TLKIT, machine
from trials import Place, Read, Runs, Words, add, bundle_of, content_of, differences, fetched, file_of, known, printed

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Case:
    """A command to kill.

    Attributes:
        words: The command, run in the folder of the trial.
        read: What came of it, as data to compare, from its folder and from what it printed.
        again: The command that goes on after a kill.
        share: Of all kills, in parts.
        bundle: Whether it writes m.tlkit.
        program: What runs the words.
    """

    words: Words
    read: Read
    share: int
    bundle: bool = False
    program: tuple[str, ...] = (str(TLKIT),)

    def again(self, work: Path) -> Words:
        """The command that a user runs after a kill, as the messages of tlkit advise."""
        if not self.bundle:
            return self.words
        if (work / "m.tlkit-run").exists():
            return ["train", "--resume", "m.tlkit-run", "--json"]
        return [*self.words, "--overwrite"] if (work / "m.tlkit").exists() else self.words


def cases(images: Path, bundle: Path) -> dict[str, Case]:
    """The commands, by name."""
    train = ["train", str(images), "-o", "m.tlkit", "--json"]
    lite = ["--backbone", "efficientnet-lite0"]
    vectors = ["embed", str(images), "--json", "--output"]
    fetch = (sys.executable, "-c", FETCH)
    return {
        "train freeze": Case([*train, "--strategy", "freeze", *lite], bundle_of, 28, bundle=True),
        "train freeze, network chosen": Case([*train, "--strategy", "freeze"], bundle_of, 12, bundle=True),
        "embed npz": Case([*vectors, "v.npz"], file_of("v.npz"), 20),
        "embed csv": Case([*vectors, "v.csv"], file_of("v.csv"), 20),
        "check": Case(["check", str(images), "--json", "--report", "c.csv"], file_of("c.csv"), 20),
        "predict": Case(["predict", str(images), "--model", str(bundle), "--format", "csv"], printed, 20),
        "predict --output": Case(
            ["predict", str(images), "--model", str(bundle), "--output", "p.csv", "--resume"], content_of("p.csv"), 20
        ),
        "evaluate": Case(
            ["evaluate", str(images), "--model", str(bundle), "--json", "--csv", "e.csv", "--report", "e.html"],
            file_of("e.csv"),
            20,
        ),
        "fetch, checksum": Case(["backbones", "fetch", "vgg16"], fetched, 10, program=fetch),
        "fetch, no checksum": Case(["backbones", "fetch", "mobilenet-v2"], fetched, 10, program=fetch),
        "train last-layers": Case(
            [*train, "--strategy", "last-layers", *lite, "--image-size", "64", "--epochs", "4"],
            bundle_of,
            40,
            bundle=True,
        ),
    }


def reference(case: Case, root: Path, more: dict[str, str]) -> dict[str, Any]:
    """What undisturbed runs give, what they leave, and how long they take.

    Raises:
        SystemExit: Two differ.
    """
    found = []
    for number in range(2):
        place = Place(root / f"reference{number}").make()
        result, seconds = Runs(case.read, place, more, case.program).finish(case.words)
        found.append({"result": result, "names": place.names(), "seconds": round(seconds, 2)})
        shutil.rmtree(place.root)
    if different := differences(found[0]["result"], found[1]["result"]):
        raise SystemExit(f"two undisturbed runs differ: {different}")
    return found[1]


def trial(
    case: Case,
    root: Path,
    more: dict[str, str],
    expected: dict[str, Any],
    signals: Sequence[signal.Signals],
    rng: random.Random,
) -> dict[str, Any]:
    """Kill a command up to three times, run it to its end, and compare."""
    place = Place(root).make()
    runs, killed, problems = Runs(case.read, place, more, case.program), [], []
    alone = rng.random() < 0.5
    try:
        for _ in range(rng.choice((1, 2, 3))):
            moment, number = rng.uniform(0, expected["seconds"]), rng.choice(signals)
            doing = runs.kill(case.again(place.work), moment, number, alone)
            if doing is None:
                break
            killed.append({"second": round(moment, 2), "while": doing, "signal": number.name})
        result, _ = runs.finish(case.again(place.work))
        problems += differences(expected["result"], result)
        problems += [f"left: {name}" for name in place.names() if name not in expected["names"]]
        problems += [f"missing: {name}" for name in expected["names"] if name not in place.names()]
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    return {"kills": killed, "alone": alone, "problems": problems}


def report(lines: list[dict[str, Any]]) -> int:
    """Print a table of all trials; how many had problems."""
    print("| command | trials | kills | equal, nothing left |\n|---|---|---|---|")
    trials = [line for line in lines if line["kind"] == "trial" and line["kills"]]
    for name in dict.fromkeys(line["case"] for line in trials):
        its = [line for line in trials if line["case"] == name]
        print(f"| {name} | {len(its)} | {kills(its)} | {sum(not line['problems'] for line in its)} |")
    print(f"| all | {len(trials)} | {kills(trials)} | {sum(not line['problems'] for line in trials)} |")
    doing = Counter(kill["while"] for line in trials for kill in line["kills"])
    print("killed while: " + ", ".join(f"{name} {number}" for name, number in doing.most_common()))
    bad = [line for line in trials if line["problems"]]
    for line in bad:
        print(line["case"], line["seed"], *line["problems"], sep="\n  ")
    return len(bad)


def kills(trials: list[dict[str, Any]]) -> int:
    return sum(len(line["kills"]) for line in trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--kills", type=int, default=220, help="in all, divided among the commands")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no trial later than that")
    parser.add_argument("--only", nargs="*", help="these commands")
    parser.add_argument("--signals", action="store_true", help="SIGINT, SIGTERM and SIGHUP in place of SIGKILL")
    parser.add_argument("--report", type=Path, metavar="TABLE")
    parser.add_argument("--keep", type=Path, help="keep the folders of trials that had problems here")
    arguments = parser.parse_args()
    if arguments.report:
        sys.exit(1 if report(known(arguments.report)) else 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell, and so inherited
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup
    ends = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as folder, serving() as more:
        root = Path(folder)
        bundle = root / "bundle.tlkit"
        subprocess.run([TLKIT, "train", arguments.images.resolve(), "--strategy", "freeze", "--backbone",
                        "efficientnet-lite0", "-o", bundle], check=True, capture_output=True)  # fmt: skip
        every = cases(arguments.images.resolve(), bundle)
        shares = sum(case.share for case in every.values())
        for name, case in every.items():
            wanted = round(arguments.kills * case.share / shares)
            if arguments.only is None or name in arguments.only:
                play(name, case, wanted, root, more, arguments, ends)
    print(f"{kills([line for line in known(arguments.table) if line['kind'] == 'trial'])} kills")


def play(
    name: str, case: Case, wanted: int, root: Path, more: dict[str, str], arguments: argparse.Namespace, ends: float
) -> None:
    """Go on with the trials of one command until there are enough kills."""
    while time.monotonic() < ends:
        lines = [line for line in known(arguments.table) if line["case"] == name]
        its = [line for line in lines if line["kind"] == "trial"]
        if kills(its) >= wanted:
            return
        if not lines:
            add(arguments.table, {"kind": "reference", "case": name, **reference(case, root, more)})
            continue
        expected = next(line for line in lines if line["kind"] == "reference")
        seed = len(its)
        place = root / "trial"
        signals = ENDING if arguments.signals else (signal.SIGKILL,)
        line = trial(case, place, more, expected, signals, random.Random(f"{name}-{seed}"))
        entry = {"kind": "trial", "case": name, "seed": seed, **line, "undisturbed": expected["seconds"], **machine()}
        add(arguments.table, entry)
        if line["problems"] and arguments.keep:
            shutil.copytree(place, arguments.keep / f"{name}-{seed}", symlinks=True)
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
