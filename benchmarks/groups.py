"""Accuracy with images mixed at random and on new groups, for every way of grouping that is looked at: JSON lines.

    python groups.py FOLDER FOLDER

A folder FOLDER_test beside a folder, if there is one, is what the frozen head meets next.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine

from tlkit.api.train.dataset import read_features
from tlkit.backbones.copies import confirmed_copies
from tlkit.backbones.extractor import open_extractor
from tlkit.backbones.features import Features
from tlkit.context import Context
from tlkit.images.duplicates import group_pairs
from tlkit.images.folder import ImageFolder, scan
from tlkit.images.group_candidates import group_candidates
from tlkit.images.groups import group_pairs_of
from tlkit.linear.group_folds import compare_folds
from tlkit.linear.head import solve_head
from tlkit.progress import SilentProgress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for path in given.folders:
        folder, features = read(path)
        start = time.perf_counter()
        ways = compared(folder, features, given.seed)
        seconds = time.perf_counter() - start
        row = {"folder": path.name, "images": len(folder.files), "seed": given.seed, "ways": ways, "seconds": seconds}
        beside = path.with_name(f"{path.name}_test")
        if beside.is_dir():
            row["separate_test_accuracy"] = tested(folder, features, beside)
        print(json.dumps({**row, **machine()}), flush=True)


def read(path: Path) -> tuple[ImageFolder, Features]:
    """The readable images of a folder, and their features."""
    context = Context(SilentProgress(), None, 0)
    folder = scan(path)
    features = read_features(folder, open_extractor("efficientnet-lite0", progress=context.show), context)
    return folder.keep(list(features.rows)), features


def compared(folder: ImageFolder, features: Features, seed: int) -> list[dict[str, Any]]:
    """What `tlkit check` compares, whether or not it would say so."""
    alike = group_pairs(confirmed_copies(features), len(folder.files))
    different = [index for index, first in enumerate(alike) if index == first]
    labels = [folder.labels[index] for index in different]
    ways = []
    for candidate in group_candidates(folder):
        groups = group_pairs(group_pairs_of(candidate.groups), len(folder.files))
        found = compare_folds(features.matrix[different], labels, [groups[index] for index in different], seed)
        if found is None:
            continue
        figures = {
            "random": found.random,
            "grouped": found.grouped,
            "low": found.interval[0],
            "high": found.interval[1],
            "random_deviation": found.deviation,
            "t": (found.random - found.grouped) / found.error,
        }
        rounded = {name: round(value, 4) for name, value in figures.items()}
        sizes = {"groups": found.groups, "compared": found.images}
        ways.append({"by": candidate.by, **sizes, **rounded, "said": found.differs})
    return ways


def tested(folder: ImageFolder, features: Features, beside: Path) -> float:
    """Accuracy of the head on another folder of the same classes."""
    other, its = read(beside)
    head = solve_head(features.matrix, folder.labels, len(folder.classes))
    answers = head.logits(its.matrix).argmax(axis=1)
    names = np.asarray(folder.classes)[answers]
    return round(float(np.mean(names == np.asarray(other.classes)[list(other.labels)])), 4)


if __name__ == "__main__":
    main()
