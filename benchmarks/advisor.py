"""The advisor's grid: what tlkit predicts for small datasets, and what each strategy reaches on them.

    python advisor.py FOLDER FOLDER... --per-class 20 50 0 --seeds 0 1 2 --cache DIR

A cell is a dataset, a number of images per class (0: all, at most 800) and a seed. ``tlkit`` gets a folder with these
images, as a user has it, and draws its own validation and test images from them. Everything is judged on other images
(up to 1,000): those of the folder NAME_test, of val/, or held out; if they are fewer than 500, also those that the
cell does not use. The lines of a cell in the table, in the order in which they are made:

- "cell": what ``tlkit.recommend`` measures and predicts, without a pilot
- "frozen": the test accuracy of all frozen candidates, with heads on the training part and on all images of the cell
- "run": what ``tlkit.train`` reaches with a strategy, from the network that ``tlkit.recommend`` has chosen
- "pilot": the result of a pilot, if the cell has enough images for one

Each test accuracy is [that of all test images, of the first half, of the second half]; the halves are fixed and
stratified. A run resumes where the table ends.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advisor_exam import Exam, train_once
from frozen import Images, draw
from measure import machine
from strategies import report, rows_in

MOST = 800  # images of a cell
MAX_TEST = 1000  # test images
MIN_TEST = 500  # with fewer test images, those that a cell does not use are added
ENOUGH = 0.9  # share of the images that a cell must have of those it is named after
STRATEGIES = ("freeze", "last-layers", "fine-tune")
NETWORKS = (
    ("efficientnet-lite0", 224),
    ("efficientnet-lite0", 288),
    ("efficientnet-lite0", 352),
    ("efficientnet-lite1", 240),
    ("efficientnet-lite2", 260),
)

Row = dict[str, Any]


def main() -> None:
    """Go on with the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="one folder per dataset; NAME_test has its test images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--per-class", type=int, nargs="+", default=[20, 50, 0], help="0: all, at most 800 in total")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=STRATEGIES)
    parser.add_argument("--no-pilot", action="store_true")
    parser.add_argument("--table", type=Path, default=Path(__file__).with_name("advisor_grid.jsonl"))
    parser.add_argument("--cache", type=Path, help="tlkit's cache, kept between calls")
    arguments = parser.parse_args()
    table = arguments.table.resolve()
    done = {key_of(row) for row in rows_in(table)}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["TLKIT_CACHE"] = str(arguments.cache.resolve() if arguments.cache else place / "cache")
        for seed in arguments.seeds:
            for count in arguments.per_class:
                for images in arguments.folders:
                    cell = make_cell(images.resolve(), count, seed, place)
                    if cell is None:
                        continue
                    for row in lines_of(cell, arguments.strategies, not arguments.no_pilot, done):
                        report({**row, **machine()}, table)


def key_of(row: Row) -> str:
    """What makes a line the same as another."""
    return json.dumps([row.get(name) for name in ("kind", "images", "per_class", "seed", "strategy")])


@dataclass
class Cell:
    """A cell of the grid.

    Attributes:
        base: What all its lines begin with.
        tree: The folder that tlkit gets.
        exam: The test images.
        place: A folder for bundles.
        chosen: Backbone, input size and features that tlkit has chosen; None: not yet.
        flip: Whether mirroring is harmless.
    """

    base: Row
    tree: Path
    exam: Exam
    place: Path
    chosen: tuple[str, int, str] | None = None
    flip: bool = False

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.base["seed"])


def make_cell(folder: Path, per_class: int, seed: int, place: Path) -> Cell | None:
    """Draw the images of a cell; None if the dataset has too few for it."""
    images = distinct(draw(folder, seed, MAX_TEST))
    count = per_class or MOST // images.classes
    train = images.train(count)
    if len(train) < ENOUGH * per_class * images.classes or len(train) > MOST:
        return None
    test = list(images.test)
    if len(test) < MIN_TEST:
        test += [(path, label) for label, pool in enumerate(images.pools) for path in pool[count:]]
    exam = Exam(test[:MAX_TEST])
    names = class_names(folder)
    tree = place / f"{folder.name}-{per_class}-{seed}"
    shutil.rmtree(tree, ignore_errors=True)
    for number, (path, label) in enumerate(train):
        link = tree / names[label] / f"{number}{path.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    base = {
        "images": folder.name,
        "per_class": per_class,
        "seed": seed,
        "count": len(train),
        "classes": images.classes,
        "test": len(exam.labels),
    }
    return Cell(base, tree, exam, place)


def distinct(images: Images) -> Images:
    """Without training images that are copies of one another or of a test image."""
    seen = {path.read_bytes() for path, _ in images.test}
    pools: list[list[Path]] = []
    for pool in images.pools:
        pools.append([])
        for path in pool:
            content = path.read_bytes()
            if content not in seen:
                seen.add(content)
                pools[-1].append(path)
    return replace(images, pools=pools)


def class_names(folder: Path) -> tuple[str, ...]:
    """Class names, by label."""
    from tlkit.images.folder import scan

    return scan(folder).classes


def lines_of(cell: Cell, strategies: Sequence[str], with_pilot: bool, done: set[str]) -> Iterator[Row]:
    """The lines of a cell that are not in the table yet."""
    wanted: list[Row] = [{"kind": "frozen"}, *({"kind": "run", "strategy": name} for name in strategies)]
    wanted = [{**row, **cell.base} for row in (*wanted, *([{"kind": "pilot"}] if with_pilot else []))]
    first = {"kind": "cell", **cell.base}
    wanted = [row for row in wanted if key_of(row) not in done]
    if key_of(first) in done and not wanted:
        return
    measured = recommend(cell)
    if key_of(first) not in done:
        yield {**first, **measured}
    for row in wanted:
        begun = time.perf_counter()
        if row["kind"] == "frozen":
            found = frozen(cell)
        elif row["kind"] == "pilot":
            found = pilot(cell, measured["evidence"]["images"])
        else:
            assert cell.chosen is not None
            found = train_once(cell.tree, cell.exam, row["strategy"], cell.chosen, cell.seed, cell.place / "run.tlkit")
        if found is not None:
            yield {**row, **found, "seconds": round(time.perf_counter() - begun, 1)}


def recommend(cell: Cell) -> Row:
    """What ``tlkit.recommend`` measures, chooses and predicts, and the cross-validation of the chosen head."""
    import tlkit

    begun = time.perf_counter()
    found = tlkit.recommend(cell.tree, pilot=False, seed=cell.seed)
    seconds = time.perf_counter() - begun
    plan, measured = found.plan, found.measured
    if measured.evidence is None or measured.flips is None:
        raise SystemExit(f"{cell.tree}: too few images")
    cell.chosen = plan.backbone, plan.input_size, plan.frozen_features
    cell.flip = measured.flips.harmless
    whole = found.to_json()
    return {
        "backbone": plan.backbone,
        "size": plan.input_size,
        "features": plan.frozen_features,
        "advice": measured.advice.strategy,
        "uncertain": measured.advice.uncertain,
        "expected": whole["expected"],
        "compared": whole["frozen"],
        "evidence": measured.evidence.to_json(),
        "level": measured.similarity.level,
        "flip": cell.flip,
        "images_per_second": round(measured.speed, 1),
        **cross_validated(cell),
        "seconds": round(seconds, 1),
    }


def prepared(cell: Cell, network: tuple[str, int], features: str | None = None) -> tuple[Any, Any, Any, Any]:
    """Start, dataset, extractor and context, as ``tlkit.train`` has them before anything is solved."""
    from tlkit.api.train.options import TrainOptions
    from tlkit.api.train.reading import open_backbone, read_dataset
    from tlkit.api.train.start import context_of, prepare_start, scan_folder

    options = {"backbone": network[0], "image_size": network[1], "features": features}
    request = TrainOptions.make(cell.tree, seed=cell.seed, **options)
    context = context_of(request, None)
    start = prepare_start(request, context)
    extractor = open_backbone(start, context)
    # all stages, whatever the features of the head
    every = replace(start, request=replace(request, features=None))
    return start, read_dataset(every, scan_folder(request.images, context), extractor, context), extractor, context


def cross_validated(cell: Cell) -> Row:
    """Cross-validation of the chosen head on the training part and on half of it, and the number of columns."""
    import numpy as np

    from tlkit.api.train.head import weighs_classes
    from tlkit.backbones.extractor import widths_of
    from tlkit.images.folder import TRAIN
    from tlkit.images.stratified import stratified_split
    from tlkit.linear.head import best_grid_point

    assert cell.chosen is not None
    start, data, extractor, _ = prepared(cell, cell.chosen[:2], cell.chosen[2])
    taps = taps_of(extractor, cell.chosen[2])
    matrix, labels, groups = data.matrix(TRAIN, taps), np.asarray(data.labels(TRAIN)), np.asarray(data.groups(TRAIN))
    half = np.asarray(stratified_split(labels.tolist(), 0.5, cell.seed, groups.tolist())) == TRAIN
    found = {}
    for name, rows in (("cv", np.ones(len(labels), bool)), ("cv_half", half)):
        point = best_grid_point(
            matrix[rows],
            labels[rows].tolist(),
            groups=groups[rows].tolist(),
            balanced=weighs_classes(start.plan, data),
            blocks=widths_of(extractor.taps, taps),
            seed=cell.seed,
        )
        found[name] = None if point is None else [round(point.accuracy, 4), round(point.log_loss, 4)]
    return {**found, "columns": sum(width for _, width in extractor.taps)}


def taps_of(extractor: Any, features: str) -> list[str]:
    """The blocks that a frozen head takes."""
    names = [name for name, _ in extractor.taps]
    return names if features == "all" else names[-1:]


def frozen(cell: Cell) -> Row:
    """Test accuracy of every frozen candidate: head on the training part, and on all images, as after the refit."""
    from tlkit.api.train.finishing import refit_splits
    from tlkit.api.train.head import weighs_classes
    from tlkit.backbones.extractor import rows_of, widths_of
    from tlkit.images.folder import TRAIN
    from tlkit.linear.head import solve_head

    found: Row = {}
    for network in NETWORKS:
        start, data, extractor, context = prepared(cell, network)
        test = cell.exam.features(extractor, context)
        parts = [data.of(TRAIN), [index for split in refit_splits(data) for index in data.of(split)]]
        for features in ("last", "all"):
            taps, c, groups = taps_of(extractor, features), None, data.groups(TRAIN)
            row: Row = {}
            for name, indices in zip(("part", "all"), parts, strict=True):
                head = solve_head(
                    data.features_of(indices, taps),
                    [data.folder.labels[index] for index in indices],
                    cell.base["classes"],
                    groups=groups if c is None else None,
                    balanced=weighs_classes(start.plan, data),
                    blocks=widths_of(extractor.taps, taps),
                    seed=cell.seed,
                    c=c,
                )
                if c is None and head.search:
                    best = min(head.search, key=lambda point: point.log_loss)
                    row["cv"] = [round(best.accuracy, 4), round(best.log_loss, 4)]
                c = head.c
                row[name] = cell.exam.score(head.logits(rows_of(test, extractor.taps, taps)))
            found[f"{network[0]} {network[1]} {features}"] = row
    return {"candidates": found}


def pilot(cell: Cell, images: int) -> Row | None:
    """The result of a pilot; None if there are too few training images for one."""
    from tlkit.api.recommend.pilot import HELD_OUT, MAX_TRAINING, MIN_HELD_OUT, run_pilot
    from tlkit.backbones.runtime import import_keras

    if round(HELD_OUT * min(images, MAX_TRAINING)) < MIN_HELD_OUT:
        return None
    assert cell.chosen is not None
    import_keras().backend.clear_session()
    start, data, extractor, context = prepared(cell, cell.chosen[:2], cell.chosen[2])
    found = run_pilot(data, extractor, start, cell.flip, context)
    return {"pilot": found.to_json(), "shows_gain": found.shows_gain}


if __name__ == "__main__":
    main()
