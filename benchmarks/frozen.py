"""What the choices of a frozen head are worth: backbone, input size and features.

    python benchmarks/frozen.py ../shared/data/* --table frozen.jsonl

For each dataset, number of images per class and seed, the head of every candidate is solved on the training images;
its cross-validated and its test accuracy make one line of the table. A run resumes where the table ends. `--report`
prints the test accuracy by candidate, and that of the candidate with the lowest cross-validated log loss.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine

from tlkit.api.train.dataset import stored_features
from tlkit.backbones.extractor import Extractor, open_extractor, rows_of, widths_of
from tlkit.backbones.features import Features
from tlkit.context import Context
from tlkit.evaluation.metrics import measure
from tlkit.images.folder import scan
from tlkit.linear.head import best_grid_point, solve_head

MAX_TEST = 500  # test images per dataset
TEST_SHARE = 0.4  # of a dataset without test images of its own
SIZES = {"efficientnet-lite0": (224, 288, 352), "efficientnet-lite1": (240, 304), "efficientnet-lite2": (260, 328)}
PER_CLASS = (20, 50, 100)  # training images per class, at most
LATE = 3  # last blocks that the features "late" consist of

Row = dict[str, Any]


@dataclass(frozen=True)
class Images:
    """A dataset: paths and labels of the images to train on, in random order within each class, and to test on."""

    name: str
    classes: int
    pools: list[list[Path]]
    test: list[tuple[Path, int]]

    def train(self, per_class: int) -> list[tuple[Path, int]]:
        """The first images of each class."""
        return [(path, label) for label, pool in enumerate(self.pools) for path in pool[:per_class]]


def main() -> None:
    """Go on with the table, or report on it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="one folder per dataset; NAME_test has its test images")
    parser.add_argument("--table", type=Path, default=Path(__file__).with_name("frozen.jsonl"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if arguments.report:
        print(json.dumps(report(read(arguments.table)), indent=1))
        return
    done = {key_of(row) for row in read(arguments.table)}
    folders = [each for each in arguments.folders if not each.name.endswith("_test")]
    for seed in arguments.seeds:
        for name, sizes in SIZES.items():
            for size in sizes:
                extractor = open_extractor(name, input_size=size)
                for folder in folders:
                    for row in rows_of_candidate(draw(folder, seed), extractor, seed, done):
                        with arguments.table.open("a", encoding="utf-8") as table:
                            table.write(json.dumps({**row, "date": str(date.today()), **machine()}) + "\n")


def read(table: Path) -> list[Row]:
    """The lines of a table; none if there is none."""
    return [json.loads(line) for line in table.read_text().splitlines()] if table.is_file() else []


def key_of(row: Row) -> tuple[Any, ...]:
    """What makes a line the same as another."""
    return tuple(row[name] for name in ("images", "per_class", "seed", "backbone", "size", "features"))


def draw(folder: Path, seed: int, most: int = MAX_TEST) -> Images:
    """Training images in random order, and at most ``most`` test images: apart, from val/, or drawn."""
    rng = np.random.default_rng(seed)
    found = scan(folder)
    held = [(path, label) for path, label, split in _listed(found) if split == "val"]
    pools: list[list[Path]] = [[] for _ in found.classes]
    for path, label, split in _listed(found):
        if split != "val":
            pools[label].append(path)
    pools = [[pool[i] for i in rng.permutation(len(pool))] for pool in pools]
    apart = folder.with_name(f"{folder.name}_test")
    if apart.is_dir():
        other = scan(apart)
        held = [(path, found.classes.index(other.classes[label])) for path, label, _ in _listed(other)]
    if not held:
        cuts = [round(TEST_SHARE * len(pool)) for pool in pools]
        held = [(path, label) for label, pool in enumerate(pools) for path in pool[: cuts[label]]]
        pools = [pool[cut:] for pool, cut in zip(pools, cuts, strict=True)]
    chosen = sorted(np.random.default_rng(0).permutation(len(held))[:most].tolist())
    return Images(folder.name, len(found.classes), pools, [held[i] for i in chosen])


def _listed(folder: Any) -> list[tuple[Path, int, str]]:
    return list(zip(folder.paths, folder.labels, folder.splits, strict=True))


def rows_of_candidate(images: Images, extractor: Extractor, seed: int, done: set[tuple[Any, ...]]) -> Iterator[Row]:
    """The lines of one backbone and size on one dataset that are not in the table yet."""
    names = [name for name, _ in extractor.taps]
    choices = {"last": names[-1:], "late": names[-LATE:], "all": names}
    counts = dict.fromkeys(min(each, max(map(len, images.pools))) for each in PER_CLASS)
    for count in counts:
        base = {
            "images": images.name,
            "per_class": count,
            "seed": seed,
            "backbone": extractor.backbone.name,
            "size": extractor.input_size,
        }
        wanted = [name for name in choices if key_of({**base, "features": name}) not in done]
        if not wanted:
            continue
        train, test = images.train(count), images.test
        found = stored_features([path for path, _ in (*train, *test)], extractor, Context(), taps=names)
        labels = [[label for _, label in (*train, *test)][row] for row in found.rows]
        cut = sum(row < len(train) for row in found.rows)
        for name in wanted:
            yield {**base, "features": name, "train": cut, **figures(found, labels, cut, choices[name], images.classes)}


def figures(found: Features, labels: list[int], cut: int, taps: Sequence[str], classes: int) -> Row:
    """Cross-validated and test figures of a head."""
    matrix, blocks = rows_of(found.matrix, found.taps, taps), widths_of(found.taps, taps)
    point = best_grid_point(matrix[:cut], labels[:cut], blocks=blocks)
    head = solve_head(matrix[:cut], labels[:cut], classes, blocks=blocks, c=point.c if point else None)
    tested = measure(head.probabilities(matrix[cut:]), labels[cut:])
    return {
        "cv_accuracy": round(point.accuracy, 4) if point else None,
        "cv_log_loss": round(point.log_loss, 4) if point else None,
        "test_accuracy": round(tested.accuracy, 4),
        "test_log_loss": round(tested.log_loss, 4),
        "test": len(labels) - cut,
    }


def report(rows: Sequence[Row]) -> Row:
    """Test accuracy in percent: of each candidate, of the one that tlkit selects, and of the best."""
    cells: dict[tuple[str, int], dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[row["images"], row["per_class"]][row["seed"]].append(row)
    found, gains = {}, []
    for (images, count), seeds in sorted(cells.items()):
        by_candidate: dict[str, list[float]] = defaultdict(list)
        selected, best = [], []
        whole = max(map(len, seeds.values()))
        seeds = {seed: its for seed, its in seeds.items() if len(its) == whole}  # others are still to be finished
        for its in seeds.values():
            for row in its:
                by_candidate[_name(row)].append(100 * row["test_accuracy"])
            selected.append(100 * _selected(its)["test_accuracy"])
            best.append(100 * max(row["test_accuracy"] for row in its))
        shipped = by_candidate["efficientnet-lite0 224 last"]
        gains.append(statistics.mean(selected) - statistics.mean(shipped))
        found[f"{images}, {count} per class"] = {
            "seeds": len(seeds),
            "shipped": round(statistics.mean(shipped), 1),
            "selected": round(statistics.mean(selected), 1),
            "best": round(statistics.mean(best), 1),
            "candidates": {name: round(statistics.mean(each), 1) for name, each in by_candidate.items()},
        }
    summary = {"mean_gain": round(statistics.mean(gains), 2), "worst_gain": round(min(gains), 2)}
    return {"benchmark": "frozen", **summary, "cells": found}


def _selected(rows: Sequence[Row]) -> Row:
    """The line of the candidate that tlkit would take, if it compared all its networks on all training images."""
    from tlkit.advisor.frozen_choice import FrozenCandidate, choose_frozen
    from tlkit.api.recommend.networks import LARGER, cost_of
    from tlkit.backbones import catalog

    lines: dict[FrozenCandidate, Row] = {}
    for row in rows:
        network, size = catalog.get(row["backbone"]), row["size"]
        if size in (network.input_size, *LARGER.get(network.name, ())) and row["features"] in ("last", "all"):
            where = (network.name, size, row["features"], cost_of(network, size), row["train"])
            lines[FrozenCandidate(*where, row["cv_accuracy"], row["cv_log_loss"])] = row
    return lines[choose_frozen(list(lines))]


def _name(row: Row) -> str:
    return f"{row['backbone']} {row['size']} {row['features']}"


if __name__ == "__main__":
    main()
