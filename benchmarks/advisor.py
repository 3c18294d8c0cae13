"""The advisor's grid: what each strategy reaches on many small data sets, beside what the advisor measures on them.

    python benchmarks/advisor.py FOLDER FOLDER... --seeds 3 --image-size 128 --table advisor.jsonl

Data sets are the folders, scikit-learn's digits and the sample photographs. For each seed and each of 5, 10, 20, 50 and
"all" pictures a class (all: at most 1,000 in the set), ``tlkit.train`` gets a folder as a user has it, draws its own
validation pictures from it, and is judged on up to 300 others, by every strategy. Those test pictures are the same
for all numbers of pictures. One JSON line a run goes to the table at once, and runs it holds are skipped, so that it
can be stopped and gone on with. "cell" lines hold what the advisor measures, "run" lines what training came to.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import machine
from strategies import draw, rows_in

PER_CLASS = (5, 10, 20, 50, 0)
MOST = 1000  # pictures of a set that counts as "all"
TEST = 300
STRATEGIES = {
    "freeze": {"strategy": "freeze"},
    "freeze-all": {"strategy": "freeze", "features": "all"},
    "last-layers": {"strategy": "last-layers"},
    "early-layers": {"strategy": "early-layers"},
    "fine-tune": {"strategy": "fine-tune"},
}
GARDEN = Path(__file__).resolve().parent.parent / "sample_data" / "garden"

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="*")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--per-class", type=int, nargs="+", default=list(PER_CLASS), help="0: all")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    parser.add_argument("--table", type=Path, required=True)
    arguments = parser.parse_args()
    done = {key_of(row) for row in rows_in(arguments.table)}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["TLKIT_CACHE"] = str(place / "cache")
        folders = [*arguments.images, GARDEN, write_digits(place / "digits")]
        for seed in arguments.seeds:
            for images in folders:
                for cell in cells(images, arguments.per_class, arguments.image_size, seed, place):
                    for row in rows_of_cell(cell, arguments.strategies, done, place):
                        done.add(key_of(row))
                        with arguments.table.open("a", encoding="utf-8") as file:
                            file.write(json.dumps({**row, **machine()}) + "\n")
                        print(json.dumps(row), flush=True)


def write_digits(folder: Path) -> Path:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 grey pixels, as class folders."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    for number, (pixels, label) in enumerate(zip(found.images, found.target, strict=True)):
        file = folder / str(label) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).round().astype("uint8")).save(file)
    return folder


def cells(images: Path, per_class: list[int], size: int, seed: int, place: Path) -> Iterator[tuple[Row, Path]]:
    """What is the same for all strategies, and a folder with train/ and test/; numbers it lacks are left out."""
    for count in per_class:
        subset = draw(images, count or MOST, 0, seed, test=TEST)
        classes = len(subset.classes)
        if not count:
            subset = draw(images, max(max(PER_CLASS) + 1, MOST // classes), 0, seed, test=TEST)
        # where most classes have fewer pictures, this is "all" under another name
        if count and len(subset.train) < 0.9 * count * classes:
            continue
        tree = place / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        subset.link(tree)
        yield (
            {
                "images": images.resolve().name,
                "per_class": count,
                "seed": seed,
                "image_size": size,
                "pictures": len(subset.train),
                "test": len(subset.test),
            },
            tree,
        )


def rows_of_cell(cell: tuple[Row, Path], strategies: list[str], done: set[str], place: Path) -> Iterator[Row]:
    """The line of a cell and those of its runs, but for those that are done."""
    base, tree = cell
    first = {"kind": "cell", **base}
    if key_of(first) not in done:
        yield {**first, **measure(tree, base["image_size"], base["seed"])}
    for name in strategies:
        row = {"kind": "run", **base, "strategy": name}
        if key_of(row) not in done:
            yield {**row, **train_once(tree, name, base["image_size"], base["seed"], place / "run.tlkit")}


def measure(tree: Path, size: int, seed: int) -> Row:
    """What the advisor measures, as `tlkit recommend` does."""
    from tlkit.api.advice import look
    from tlkit.api.dataset import is_uneven, prepare, read_features
    from tlkit.backbones.extractor import open_extractor
    from tlkit.images.folder import scan
    from tlkit.progress import SilentProgress

    start, show = time.perf_counter(), SilentProgress()
    extractor = open_extractor("efficientnet-lite0", input_size=size)
    folder = scan(tree)
    found = read_features(folder, extractor, None, show, taps=[name for name, _ in extractor.taps])
    data = prepare(folder, found, 0.2, seed, False)
    read = time.perf_counter()
    looked = look(
        data,
        extractor,
        by="measured",
        balanced=is_uneven(data.folder),
        seed=seed,
        limit=None,
        workers=None,
        show=show,
    )
    if looked.evidence is None:
        raise SystemExit(f"{tree}: too few pictures")
    return {
        "evidence": looked.evidence.to_json(),
        "feature_seconds": round(read - start, 2),
        "probe_seconds": round(time.perf_counter() - read, 2),
    }


def train_once(tree: Path, name: str, size: int, seed: int, bundle: Path) -> Row:
    """What one strategy comes to."""
    from tlkit.api.train import train
    from tlkit.backbones.runtime import import_keras
    from tlkit.progress import SilentProgress

    import_keras().backend.clear_session()
    start = time.perf_counter()
    result = train(
        tree, image_size=size, seed=seed, output=bundle, overwrite=True, progress=SilentProgress(), **STRATEGIES[name]
    )
    tuning = result.tuning or {}
    recipe = result.plan.recipe
    return {
        "test_accuracy": round(result.metrics["test_accuracy"], 4),
        "test_loss": round(result.metrics["test_loss"], 4),
        "val_accuracy": round(result.metrics["val_accuracy"], 4),
        "kept": tuning.get("kept"),
        "steps": tuning.get("steps"),
        "best_step": tuning.get("best_step"),
        "learning_rate": recipe.learning_rate if recipe else None,
        "boundary": result.plan.boundary,
        "seconds": round(time.perf_counter() - start, 1),
        "tuning_seconds": result.seconds["training"],
    }


def key_of(row: Row) -> str:
    """What makes a line the same as another."""
    names = ("kind", "images", "per_class", "seed", "image_size", "strategy")
    return json.dumps([row.get(name) for name in names])


if __name__ == "__main__":
    main()
