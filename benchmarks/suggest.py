"""Label as `tlkit suggest` says, or at random: area under the learning curve, one JSON line a data set and seed.

    python benchmarks/suggest.py ../shared/data/flowers ../shared/data/clothing --table suggest.jsonl
    python benchmarks/suggest.py --table suggest.jsonl --summary

A third of the images tests. Of the others, at most 1,500, eight of each class have a label at the start. Then batches
are labelled, chosen by each way, by a random draw (the mean of three), and as suggest would: by the way that its own
backtest on the labelled images prefers, or at random if none has won. Resumes: lines that are there are not computed
again. Features are those of the default network, from the cache.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine

from tlkit.api.train.dataset import stored_features
from tlkit.backbones.extractor import open_extractor
from tlkit.context import Context
from tlkit.images.labelled import labelled_images
from tlkit.linear.acquisition import RANDOM, WAYS, choose, compact, probabilities_of, strength_of
from tlkit.linear.replay import replay
from tlkit.progress import SilentProgress

MOST, TESTED, ROUNDS, BATCH, PER_CLASS = 1500, 700, 6, 40, 8
OWN = "suggest"


def features_of(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    found = labelled_images(folder)
    its = stored_features(
        found.paths, open_extractor("efficientnet-lite0"), Context(SilentProgress(), None, 0, None), taps=["top"]
    )
    return its.matrix, np.asarray([found.labels[row] for row in its.rows])


def start_of(labels: np.ndarray, pool: list[int]) -> list[int]:
    return [row for label in np.unique(labels) for row in [each for each in pool if labels[each] == label][:PER_CLASS]]


def one(folder: Path, seed: int) -> dict[str, Any]:
    matrix, labels = features_of(folder)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels)).tolist()
    test = order[: min(TESTED, len(order) // 3)]
    pool = order[len(test) :][:MOST]
    used = [*test, *pool]
    rows, target = compact(matrix[used]), labels[used]
    tested, rest = list(range(len(test))), list(range(len(test), len(used)))
    start = start_of(target, rest)
    curves: dict[str, list[float]] = {}
    verdicts, seconds = [], 0.0
    for way in (*WAYS, f"{RANDOM} 1", f"{RANDOM} 2", f"{RANDOM} 3", OWN):
        draw = np.random.default_rng([seed, len(curves)])
        known, left, curve = list(start), [each for each in rest if each not in set(start)], []
        for number in range(ROUNDS + 1):
            c = strength_of(rows[known], target[known].tolist(), known, seed)
            shown = probabilities_of(rows[known], target[known], rows[[*tested, *left]], len(np.unique(labels)), c)
            curve.append(float((shown[: len(tested)].argmax(axis=1) == target[tested]).mean()))
            if number == ROUNDS:
                break
            by = way.split()[0]
            if way == OWN:
                begin = time.perf_counter()
                found = replay(rows[known], target[known].tolist(), known, c, BATCH, seed=seed)
                seconds += time.perf_counter() - begin
                by = found.best.way if found is not None and found.best is not None else RANDOM
                verdicts.append({"labelled": len(known), "by": by, **({} if found is None else found.to_json())})
            chosen = set(choose(by, rows, known, left, shown[len(tested) :], BATCH, draw))
            known, left = [*known, *chosen], [each for each in left if each not in chosen]
        curves[way] = curve
    drawn = np.mean([curves.pop(f"{RANDOM} {number}") for number in (1, 2, 3)], axis=0)
    gains = {way: round(100 * float(np.mean(np.asarray(curve) - drawn)), 2) for way, curve in curves.items()}
    return {
        "benchmark": "suggest",
        "set": folder.name,
        "seed": seed,
        **machine(),
        "start": len(start),
        "batch": BATCH,
        "rounds": ROUNDS,
        "tested": len(test),
        "pool": len(rest),
        "area": {
            RANDOM: round(float(drawn.mean()), 4),
            **{way: round(float(np.mean(its)), 4) for way, its in curves.items()},
        },
        "gain": gains,
        "curves": {way: np.round(its, 4).tolist() for way, its in {RANDOM: drawn, **curves}.items()},
        "chosen": [each["by"] for each in verdicts],
        "backtest": verdicts,
        "backtest_seconds": round(seconds / ROUNDS, 1),
    }


def summary(lines: list[dict[str, Any]]) -> None:
    print("| set | labels | area at random | margin | diverse | typical | suggest | ways that its backtest took |")
    print("|---|---|---|---|---|---|---|---|")
    for name in dict.fromkeys(line["set"] for line in lines):
        its = [line for line in lines if line["set"] == name]
        cells = []
        for way in (*WAYS, OWN):
            gains = np.asarray([line["gain"][way] for line in its])
            cells.append(f"{gains.mean():+.1f} ({gains.min():+.1f} to {gains.max():+.1f})")
        taken = [way for line in its for way in line["chosen"]]
        ways = ", ".join(f"{way} {taken.count(way)}" for way in (*WAYS, RANDOM) if way in taken)
        first = its[0]
        labels = f"{first['start']} to {first['start'] + first['batch'] * first['rounds']}"
        area = f"{np.mean([line['area'][RANDOM] for line in its]):.1%}"
        print(f"| {name} ({len(its)} seeds) | {labels} | {area} | {' | '.join(cells)} | {ways} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--table", type=Path, default=Path("suggest.jsonl"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--summary", action="store_true")
    given = parser.parse_args()
    lines = [json.loads(line) for line in given.table.read_text().splitlines()] if given.table.exists() else []
    if given.summary:
        summary(lines)
        return
    done = {(line["set"], line["seed"]) for line in lines}
    for folder in given.folders:
        for seed in range(given.seeds):
            if (folder.name, seed) not in done:
                with given.table.open("a") as file:
                    file.write(json.dumps(one(folder, seed)) + "\n")


if __name__ == "__main__":
    main()
