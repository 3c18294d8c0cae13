"""The advisor's grid: what each strategy reaches on many small data sets, beside what the advisor measures on them.

    python benchmarks/advisor.py FOLDER FOLDER... --seeds 0 1 2 --image-size 96 --table advisor.jsonl

Data sets are the folders, scikit-learn's digits and the sample photographs. For each seed and each of 5, 10, 20, 50
and "all" images a class (all: at most 800 in the set), ``tlkit.train`` gets a folder as a user has it, draws its own
validation images from it, and is judged on up to 600 others, by every strategy: up to 300 are the same for all
numbers of images, the rest are those that are not trained on. One JSON line a run goes to the table at once, and
runs it holds are skipped, so that it can be stopped and gone on with. "cell" lines hold what the advisor measures,
"run" lines what training came to, "pilot" lines (``--pilot``) what a pilot finds.

Runs that train weights also say what the network was like at the best look and at the end of training, whichever was
saved, so that ways of choosing among them and the frozen network can be compared without training anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine
from strategies import Subset, draw, rows_in

PER_CLASS = (5, 10, 20, 50, 0)
MOST = 800  # images of a set that counts as "all"
TEST = 300  # test images at most, that are the same for all numbers of images
ALL_TEST = 600  # and with those that a cell does not train on
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
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="which")
    parser.add_argument("--per-class", type=int, nargs="+", default=list(PER_CLASS), help="0: all")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    parser.add_argument("--pilot", action="store_true", help="also run the pilot")
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
                    for row in rows_of_cell(cell, arguments.strategies, arguments.pilot, done, place):
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
        # where most classes have fewer images, this is "all" under another name
        if count and len(subset.train) < 0.9 * count * classes:
            continue
        subset = with_the_rest(subset, images, seed)
        tree = place / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        subset.link(tree)
        yield (
            {
                "images": images.resolve().name,
                "per_class": count,
                "seed": seed,
                "image_size": size,
                "count": len(subset.train),
                "test": len(subset.test),
            },
            tree,
        )


def with_the_rest(subset: Subset, images: Path, seed: int) -> Subset:
    """The subset with images it does not train on as further test images, those of the folder's own val/ first."""
    from tlkit.images.folder import scan

    rest = list(draw(images, 0, 10**6, seed, test=TEST).val) if "val" in scan(images).splits else []
    trained = set(subset.train)
    left = [each for each in draw(images, 0, 0, seed, test=TEST).train if each not in trained]
    rest += [left[i] for i in np.random.default_rng(seed).permutation(len(left))]
    return replace(subset, test=(*subset.test, *rest[: max(0, ALL_TEST - len(subset.test))]))


def rows_of_cell(
    cell: tuple[Row, Path], strategies: list[str], with_pilot: bool, done: set[str], place: Path
) -> Iterator[Row]:
    """The line of a cell and those of its runs, but for those that are done."""
    base, tree = cell
    first = {"kind": "cell", **base}
    if key_of(first) not in done:
        yield {**first, **measure(tree, base["image_size"], base["seed"])}
    for name in strategies:
        row = {"kind": "run", **base, "strategy": name}
        if key_of(row) not in done:
            yield {**row, **train_once(tree, name, base["image_size"], base["seed"], place / "run.tlkit")}
    row = {"kind": "pilot", **base}
    if with_pilot and key_of(row) not in done:
        yield {**row, **pilot(tree, base["image_size"], base["seed"])}


def prepared(tree: Path, size: int, seed: int) -> tuple[Any, Any]:
    """Data set and extractor, as `tlkit recommend` has them."""
    from tlkit.api.train.dataset import prepare, read_features
    from tlkit.backbones.extractor import open_extractor
    from tlkit.context import Context
    from tlkit.images.folder import scan

    extractor = open_extractor("efficientnet-lite0", input_size=size)
    folder = scan(tree)
    found = read_features(folder, extractor, Context(), taps=[name for name, _ in extractor.taps])
    return prepare(folder, found, 0.2, seed, False), extractor


def pilot(tree: Path, size: int, seed: int) -> Row:
    """What the pilot finds."""
    from tlkit.api.recommend.pilot import run_pilot
    from tlkit.api.train.flip_check import look_at_flips, read_pixels
    from tlkit.api.train.options import TrainOptions
    from tlkit.backbones.runtime import import_keras
    from tlkit.context import Context

    import_keras().backend.clear_session()
    context = Context(seed=seed)
    data, extractor = prepared(tree, size, seed)
    flips = look_at_flips(data, extractor, read_pixels(data, size, None), context, most=128)
    start = time.perf_counter()
    found = run_pilot(data, extractor, TrainOptions(str(tree), seed=seed), flips.harmless, context)
    figures = {"count" if name == "images" else name: value for name, value in found.to_json().items()}
    return {**figures, "seconds": round(time.perf_counter() - start, 1)}


def measure(tree: Path, size: int, seed: int) -> Row:
    """What the advisor measures, as `tlkit recommend` does."""
    from tlkit.api.recommend import measure as measuring
    from tlkit.api.train.options import TrainOptions
    from tlkit.context import Context

    start = time.perf_counter()
    data, extractor = prepared(tree, size, seed)
    read = time.perf_counter()
    request = TrainOptions(str(tree), seed=seed)
    looked = measuring.measure(data, extractor, request, data.imbalanced, Context(seed=seed))
    if looked.evidence is None:
        raise SystemExit(f"{tree}: too few images")
    return {
        "evidence": looked.evidence.to_json(),
        "feature_seconds": round(read - start, 2),
        "probe_seconds": round(time.perf_counter() - read, 2),
        "images_a_second": round(looked.speed, 1),
        "columns": sum(width for _, width in extractor.taps),
    }


def train_once(tree: Path, name: str, size: int, seed: int, bundle: Path) -> Row:
    """What one strategy comes to."""
    from tlkit.api.train.run import train
    from tlkit.backbones.runtime import import_keras
    from tlkit.progress import SilentProgress

    import_keras().backend.clear_session()
    start = time.perf_counter()
    with best_and_last() as networks:
        result = train(
            tree,
            image_size=size,
            seed=seed,
            output=bundle,
            overwrite=True,
            progress=SilentProgress(),
            **STRATEGIES[name],
        )
    tuning = result.tuning.to_json() if result.tuning else {}
    if tuning.get("stopped") == "interrupted":  # a signal ends a run gently: its result is none of the grid's
        raise SystemExit("interrupted")
    recipe = result.plan.recipe
    return {
        "test_accuracy": round(result.metrics["test_accuracy"], 4),
        "test_loss": round(result.metrics["test_loss"], 4),
        "val_accuracy": round(result.metrics["val_accuracy"], 4),
        "kept": tuning.get("kept"),
        "steps": tuning.get("steps"),
        "best_step": tuning.get("best_step"),
        "learning_rate": recipe.learning_rate if recipe else None,
        "layer_decay": recipe.layer_decay if recipe else None,
        "boundary": result.plan.boundary,
        "seconds": round(time.perf_counter() - start, 1),
        "tuning_seconds": result.seconds["training"],
        "frozen": {key.removeprefix("frozen_"): round(tuning[key], 4) for key in tuning if key.startswith("frozen_")},
        **networks,
    }


@contextmanager
def best_and_last() -> Iterator[Row]:
    """What the networks of a run that trains weights come to on the held-out images: at the best look, at the end."""
    from tlkit.api.train import metrics, tuning
    from tlkit.finetune import loop as fit
    from tlkit.finetune import step as tuner

    found: Row = {}
    last: list[Any] = []
    restore, held_out = fit.restore, tuning._answers

    def restore_best(variables: Any, values: Any) -> None:
        last[:] = [variables, tuner.snapshot(variables)]
        restore(variables, values)

    def of_both(model: Any, sample: Any, data: Any, decoded: Any, show: Any) -> Any:
        variables, values = last
        best = tuner.snapshot(variables)
        for name, each in (("last", values), ("best", best)):
            restore(variables, each)
            answers = held_out(model, sample, data, decoded, show)
            figures = metrics.metrics_of(data, answers[0])
            found[name] = {key: round(figures[key], 4) for key in figures if key.endswith(("accuracy", "loss"))}
        return answers

    fit.restore, tuning._answers = restore_best, of_both
    try:
        yield found
    finally:
        fit.restore, tuning._answers = restore, held_out


def key_of(row: Row) -> str:
    """What makes a line the same as another."""
    names = ("kind", "images", "per_class", "seed", "image_size", "strategy")
    return json.dumps([row.get(name) for name in names])


if __name__ == "__main__":
    main()
