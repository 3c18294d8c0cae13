"""The strategies of ``tlkit train`` on balanced subsets of a folder: one JSON line a run, and a last one with means.

    python benchmarks/strategies.py FOLDER --per-class 5 20 100 --seeds 3 --out strategies.jsonl

For each seed, validation images are drawn once, at most 400, and training images from the rest; each is a subset
of the next larger one. All strategies of a seed see the same images. Exact copies are left out. A folder with its
own train/ and val/ keeps them. ``tlkit train`` runs as a user runs it, with one cache for all runs.

The bundle holds the better one of tuned and frozen network on validation, so ``val_accuracy`` is never below freeze's,
and is a little flattered. ``--test`` draws so many further images that nothing was chosen on.

    python benchmarks/strategies.py FOLDER --train-option=--augment --train-option=strong
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from measure import machine, run_tlkit

STRATEGIES = ("freeze", "last-layers", "fine-tune", "early-layers")
VAL = 400  # validation images at most
HELD_OUT = 0.3  # of a class at most, where the folder has no split of its own

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--per-class", type=int, nargs="+", default=[5, 20], help="training images; 0: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=STRATEGIES)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--val", type=int, default=VAL, help="validation images at most")
    parser.add_argument("--test", type=int, default=0, help="test images at most")
    parser.add_argument("--train-option", action="append", default=[], help="for tuned strategies; may be repeated")
    parser.add_argument("--out", type=Path, help="append runs here, and skip those it holds")
    arguments = parser.parse_args()
    out = arguments.out and arguments.out.resolve()
    known = {key_of(row): row for row in rows_in(out)}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        env = {"TLKIT_CACHE": str(place / "cache")}
        for seed in range(arguments.seeds):
            for count in arguments.per_class:
                subset = draw(arguments.images, count, arguments.val, seed, test=arguments.test)
                tree = place / "tree"
                for strategy in arguments.strategies:
                    row: Row = {
                        "benchmark": "strategies",
                        "images": arguments.images.resolve().name,
                        "per_class": count,
                        "seed": seed,
                        "strategy": strategy,
                        "image_size": arguments.image_size,
                        "options": [] if strategy == "freeze" else arguments.train_option,
                        "train": len(subset.train),
                        "val": len(subset.val),
                        "test": len(subset.test),
                    }
                    if key_of(row) not in known:
                        if not tree.exists():
                            subset.link(tree)
                        row |= train(tree, row, place, env)
                        report({**row, **machine()}, out)
                        known[key_of(row)] = row
                    found.append(known[key_of(row)])
                shutil.rmtree(tree, ignore_errors=True)
    print(json.dumps({"benchmark": "strategies", "summary": summary(found), **machine()}))


@dataclass(frozen=True)
class Subset:
    """Images of a folder, by use: (file, label) each, and the class names."""

    classes: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    val: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]

    def link(self, tree: Path) -> None:
        """A folder with train/, val/ and, if there are such images, test/, as links."""
        for part, images in (("train", self.train), ("val", self.val), ("test", self.test)):
            for number, (file, label) in enumerate(images):
                link = tree / part / self.classes[label] / f"{number}{file.suffix}"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)


def draw(images: Path, per_class: int, val: int, seed: int, test: int = 0) -> Subset:
    """A subset of a folder: the same seed gives the same held-out images, whatever ``per_class``.

    Args:
        images: One folder a class, or train/ and val/ with them.
        per_class: Training images of each class, as many as there are where they are fewer; 0: all.
        val: Validation images at most, as many of each class.
        seed: Of the draw.
        test: Test images at most, likewise.
    """
    from tlkit.images.folder import scan

    folder = scan(images)
    rng = np.random.default_rng(seed)
    classes = range(len(folder.classes))
    pools: dict[str, list[list[Path]]] = {"train": [[] for _ in classes], "val": [[] for _ in classes]}
    seen: set[str] = set()
    listed = list(zip(folder.paths, folder.labels, folder.splits, strict=True))
    own = any(split == "val" for _, _, split in listed)
    # of copies, that in val/ stays, so that no validation image is trained on
    for path, label, split in sorted(listed, key=lambda each: each[2] != "val"):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        if content not in seen and split != "test":
            seen.add(content)
            pools["val" if split == "val" else "train"][label].append(path)
    parts: dict[str, list[tuple[Path, int]]] = {"train": [], "val": [], "test": []}
    for label in classes:
        rest, held = (
            [pool[i] for i in rng.permutation(len(pool))] for pool in (pools["train"][label], pools["val"][label])
        )
        for part, most in (("val", val), ("test", test)):
            share = most // len(folder.classes)
            if own and part == "val":
                chosen = held[:share]
            else:
                share = min(share, int(HELD_OUT * (len(pools["train"][label]))))
                chosen, rest = rest[:share], rest[share:]
            parts[part] += [(path, label) for path in chosen]
        parts["train"] += [(path, label) for path in rest[: per_class or None]]
    return Subset(folder.classes, *(tuple(parts[part]) for part in ("train", "val", "test")))


def train(tree: Path, row: Row, place: Path, env: dict[str, str]) -> Row:
    """One run of the installed command."""
    bundle = place / "run.tlkit"
    command = ["train", tree, "--strategy", row["strategy"], "--seed", row["seed"], "--output", bundle, "--json"]
    command += ["--image-size", row["image_size"]] if row["image_size"] else []
    command += [] if row["test"] else ["--test-split", 0]  # else training images would be kept aside
    ran = run_tlkit(*command, *row["options"], cwd=place, env=env)
    shutil.rmtree(bundle)
    metrics, tuning = ran.result["metrics"], ran.result["tuning"]
    frozen = metrics if tuning is None else {key.removeprefix("frozen_"): tuning[key] for key in tuning}
    return {
        "val_accuracy": round(metrics["val_accuracy"], 4),
        "val_loss": round(metrics["val_loss"], 4),
        "frozen_val_accuracy": round(frozen["val_accuracy"], 4),
        "frozen_val_loss": round(frozen["val_loss"], 4),
        "test_accuracy": round(metrics["test_accuracy"], 4) if "test_accuracy" in metrics else None,
        "kept": tuning and tuning["kept"],
        "steps": tuning and tuning["steps"],
        "best_step": tuning and tuning["best_step"],
        "stopped": tuning and tuning["stopped"],
        "seconds": ran.seconds,
        "peak_mib": ran.peak_mib,
    }


def summary(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Means over the seeds by images a class and strategy; points are those over freeze on the same images."""
    found: dict[str, dict[str, Row]] = {}
    for count, strategy in dict.fromkeys((row["per_class"], row["strategy"]) for row in rows):
        ours = [row for row in rows if (row["per_class"], row["strategy"]) == (count, strategy)]
        freeze = {row["seed"]: row for row in rows if (row["per_class"], row["strategy"]) == (count, "freeze")}
        line: Row = {
            "runs": len(ours),
            "val_accuracy": round(mean(row["val_accuracy"] for row in ours), 4),
            "val_loss": round(mean(row["val_loss"] for row in ours), 4),
            "seconds": round(mean(row["seconds"] for row in ours), 1),
            "kept": sum(bool(row["kept"]) for row in ours),
        }
        for figure in ("val_accuracy", "test_accuracy"):
            if freeze and all(row[figure] is not None for row in (*ours, *freeze.values())):
                points = [100 * (row[figure] - freeze[row["seed"]][figure]) for row in ours]
                line[f"{figure.split('_')[0]}_points_over_freeze"] = round(mean(points), 2)
        found.setdefault(str(count), {})[strategy] = line
    return found


def key_of(row: Row) -> str:
    """What makes a run the same as another."""
    names = ("images", "per_class", "seed", "strategy", "image_size", "options", "train", "val", "test")
    return json.dumps([row[name] for name in names])


def rows_in(out: Path | None) -> Iterable[Row]:
    """Lines of an earlier call."""
    if out is None or not out.exists():
        return []
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def report(row: Row, out: Path | None) -> None:
    """Print a line at once, and append it."""
    print(json.dumps(row), flush=True)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
