"""Every two commands at once in one folder with one cache, against each alone: one JSON line a pair.

    python benchmarks/pairs.py FOLDER pairs.jsonl
    python benchmarks/pairs.py FOLDER pairs.jsonl --minutes 5   # goes on where the table ends
    python benchmarks/pairs.py --report pairs.jsonl

The cache is empty at first, so that both compute and keep the same features. The second command starts at a random
moment in the first half of the first one. Both results must equal, bit by bit but for dates and times, what each
command gives alone; and what lies in the folder, in the cache and in TMPDIR must be what they leave alone.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import TLKIT, machine
from trials import Place, Read, Runs, Words, add, bundle_of, differences, file_of, known, printed, printed_json


@dataclass(frozen=True)
class Side:
    """One of two commands.

    Attributes:
        words: The command, for the first or second of two that may be the same.
        read: What came of it.
    """

    words: Words
    read: Read


def sides(images: Path, bundle: Path, number: int) -> dict[str, Side]:
    """The commands by name, whose files have a number in their names; bundles get the next free name."""
    train = ["train", str(images), "--json", "--backbone", "efficientnet-lite0"]
    tuned = ["--strategy", "last-layers", "--image-size", "64", "--epochs", "4"]
    vectors, found = f"v{number}.npz", f"c{number}.csv"
    return {
        "train freeze": Side([*train, "--strategy", "freeze"], bundle_of),
        "train last-layers": Side([*train, *tuned], bundle_of),
        "recommend": Side(["recommend", str(images), "--json", "--backbone", "efficientnet-lite0"], printed_json),
        "embed": Side(["embed", str(images), "--json", "--output", vectors], file_of(vectors)),
        "check": Side(["check", str(images), "--json", "--report", found], file_of(found)),
        "predict": Side(["predict", str(images), "--model", str(bundle), "--format", "csv"], printed),
    }


def alone(side: Side, root: Path) -> dict[str, Any]:
    """What a command gives and leaves when nothing else runs.

    Raises:
        SystemExit: Two runs differ.
    """
    found = []
    for number in range(2):
        place = Place(root / f"alone{number}").make()
        result, seconds = Runs(side.read, place, {}).finish(side.words)
        found.append({"result": result, "names": place.names(), "seconds": seconds})
        shutil.rmtree(place.root)
    if different := differences(found[0]["result"], found[1]["result"]):
        raise SystemExit(f"two runs alone differ: {different}")
    return found[1]


def together(pair: tuple[Side, Side], references: tuple[Any, Any], root: Path, rng: random.Random) -> dict[str, Any]:
    """Run two at once and compare."""
    place, problems = Place(root / "together").make(), []
    delay = rng.uniform(0, references[0]["seconds"] / 2)

    def run(side: Side, wait: float) -> Any:
        time.sleep(wait)
        try:
            return Runs(side.read, place, {}).finish(side.words)[0]
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            problems.append(f"{type(error).__name__}: {error}")
            return None

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, pair, (0.0, delay)))
    for result, reference in zip(results, references, strict=True):
        problems += differences(reference["result"], result)
    expected = {without_number(name) for reference in references for name in reference["names"]}
    there = {without_number(name) for name in place.names()}
    problems += [f"left: {name}" for name in sorted(there - expected)]
    # a folder that only one of them leaves empty
    problems += [f"missing: {name}" for name in sorted(expected - there) if not (place.root / name).is_dir()]
    shutil.rmtree(place.root)
    return {"delay": round(delay, 2), "problems": problems}


def without_number(name: str) -> str:
    """A name in the folder without what tells the files of two commands apart."""
    first, slash, rest = name.removeprefix("work/").partition("/")
    stem, dot, suffix = first.partition(".")
    return f"{stem.rstrip('0123456789-')}{dot}{suffix}{slash}{rest}" if name.startswith("work/") else name


def report(lines: list[dict[str, Any]]) -> int:
    """Print all pairs; how many had problems."""
    pairs = [line for line in lines if line["kind"] == "pair"]
    bad = [line for line in pairs if line["problems"]]
    for line in bad:
        print(*line["pair"], *line["problems"], sep="\n  ")
    print(f"{len(pairs)} runs of {len({tuple(line['pair']) for line in pairs})} pairs, {len(bad)} with problems")
    return len(bad)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--times", type=int, default=1, help="for each pair")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no pair later than that")
    parser.add_argument("--report", type=Path, metavar="TABLE")
    arguments = parser.parse_args()
    if arguments.report:
        sys.exit(1 if report(known(arguments.report)) else 0)
    ends = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bundle = root / "bundle.tlkit"
        subprocess.run([TLKIT, "train", arguments.images.resolve(), "--strategy", "freeze", "--backbone",
                        "efficientnet-lite0", "-o", bundle], check=True, capture_output=True)  # fmt: skip
        first, second = (sides(arguments.images.resolve(), bundle, number) for number in (1, 2))
        for pair in itertools.combinations_with_replacement(first, 2):
            for number in range(arguments.times):
                if time.monotonic() > ends:
                    return
                play(pair, number, (first[pair[0]], second[pair[1]]), root, arguments.table)


def play(names: tuple[str, str], number: int, pair: tuple[Side, Side], root: Path, table: Path) -> None:
    """Run a pair once, unless the table has it."""
    lines = known(table)
    if any(line.get("pair") == list(names) and line["number"] == number for line in lines):
        return
    references = {line["name"]: line for line in lines if line["kind"] == "alone"}
    for name, side in zip(names, pair, strict=True):
        if name not in references:
            references[name] = {"kind": "alone", "name": name, **alone(side, root)}
            add(table, references[name])
    found = together(pair, (references[names[0]], references[names[1]]), root, random.Random(f"{names}-{number}"))
    add(table, {"kind": "pair", "pair": names, "number": number, **found, **machine()})


if __name__ == "__main__":
    main()
