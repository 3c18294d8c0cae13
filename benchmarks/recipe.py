"""Whether each default of the fine-tuning recipe earns its place: one JSON line a run, and a last one with means.

    python benchmarks/recipe.py FOLDER FOLDER... --per-class 20 --image-size 96 --out recipe.jsonl

For each folder and seed, the embedded network is fine-tuned on a balanced subset as ``tlkit train --strategy fine-
tune`` does at first, at the low rate and without interpolation, and then again with one thing changed at a time, for
the same number of steps: the head starts small and random instead of solved; rates that fall from stage
to stage; no weight decay; no warm-up; a constant rate after the warm-up; no clipping; BatchNorm's statistics moving;
no and strong augmentation; no label smoothing; half and twice the steps; other rates; L2-SP. ``last_weights`` is
the default run's end instead of its best look at the validation images. Patience is off, and they are looked at
eight times.

What is compared are figures on test images, which neither the weights nor the look were chosen on; those of the
validation images stand beside them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Any
from unittest import mock

import numpy as np
from measure import machine
from strategies import draw, report, rows_in

BACKBONE = "efficientnet-lite0"
HELD_OUT = 300  # validation images at most, and test images at most
LOOKS = 8  # at the validation images in a run
NEVER = 10**9
RATES = (1e-3, 1e-4, 3e-5)
DEFAULT, LAST_WEIGHTS = "default", "last_weights"

Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """What is done otherwise than by default: fields of the recipe, the head or the schedule."""

    recipe: dict[str, Any]
    random_head: bool = False
    constant_rate: bool = False
    share_of_steps: float = 1.0


def changes() -> dict[str, Change]:
    """All alternatives by name."""
    from tlkit.plan.recipe import MOVING

    return {
        "random_head": Change({}, random_head=True),
        "layer_wise_rates": Change({"layer_decay": 0.75}),
        "no_weight_decay": Change({"weight_decay": 0.0}),
        "no_warm_up": Change({"warm_up": 1e-6}),
        "constant_rate": Change({}, constant_rate=True),
        "no_clipping": Change({"clip": 1e9}),
        "moving_batch_norm": Change({"batch_norm": MOVING}),
        "no_augmentation": Change({"augment": "none", "flip": False}),
        "strong_augmentation": Change({"augment": "strong"}),
        "no_label_smoothing": Change({"label_smoothing": 0.0}),
        "half_the_steps": Change({}, share_of_steps=0.5),
        "twice_the_steps": Change({}, share_of_steps=2.0),
        "l2_sp": Change({"l2_sp": 10.0}),
        **{f"rate_{rate:g}": Change({"learning_rate": rate}) for rate in RATES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--per-class", type=int, default=20, help="training images; 0: all")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, help="of each run; default: that of tlkit")
    parser.add_argument("--only", nargs="+", help="these alternatives, by name")
    parser.add_argument("--out", type=Path, help="append runs here, and skip those it holds")
    arguments = parser.parse_args()
    chosen = {name: change for name, change in changes().items() if name in (arguments.only or changes())}
    if unknown := set(arguments.only or ()) - set(chosen):
        parser.error(f"no such alternative: {', '.join(sorted(unknown))}; one of {', '.join(changes())}")
    from tlkit.finetune.hardware import keep_memory

    keep_memory()  # as tlkit train does
    known = {key_of(row): row for row in rows_in(arguments.out)}
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TLKIT_CACHE"] = cache
        for images in arguments.images:
            for seed in range(arguments.seeds):
                with Setting.open(images, arguments.per_class, arguments.image_size, seed) as setting:
                    for row in compare(setting, arguments.steps, chosen, known):
                        if key_of(row) not in known:
                            report({**row, **machine()}, arguments.out)
                            known[key_of(row)] = row
                        found.append(row)
    print(json.dumps({"benchmark": "recipe", "summary": summary(found), **machine()}))


class Setting:
    """A balanced subset of a folder, decoded, and a head solved on its features."""

    def __init__(self, images: Path, per_class: int, size: int, seed: int, decoded: Any, subset: Any) -> None:
        from tlkit.backbones.extractor import TOP, open_extractor
        from tlkit.backbones.features import compute_features
        from tlkit.linear.head import solve_head

        self.name, self.per_class, self.size, self.seed, self.decoded = images.name, per_class, size, seed, decoded
        parts = (subset.train, subset.val, subset.test)
        self.labels = np.asarray([label for _, label in chain(*parts)], np.int32)
        part_of = np.repeat(np.arange(3), [len(part) for part in parts])
        self.train, self.val, self.test = (tuple(i for i in decoded.rows if part_of[i] == part) for part in range(3))
        extractor = open_extractor(BACKBONE, input_size=size)
        features = compute_features(decoded.paths, extractor, taps=[TOP])
        row_of = {image: row for row, image in enumerate(features.rows)}
        self._matrix = features.matrix[[row_of[i] for i in self.train]]
        labels = self.labels[list(self.train)].tolist()
        self.head = solve_head(self._matrix, labels, len(subset.classes), seed=seed)
        self.flip = self._may_flip(extractor, labels)

    @classmethod
    def open(cls, images: Path, per_class: int, size: int, seed: int) -> Setting:
        """Draw and decode the images."""
        from tlkit.store.decoded import decode_all

        subset = draw(images, per_class, HELD_OUT, seed, test=HELD_OUT)
        drawn = chain(subset.train, subset.val, subset.test)
        decoded = decode_all([path for path, _ in drawn], (size, size))
        return cls(images.resolve(), per_class, size, seed, decoded, subset)

    def __enter__(self) -> Setting:
        return self

    def __exit__(self, *_: object) -> None:
        self.decoded.close()

    def _may_flip(self, extractor: Any, labels: list[int]) -> bool:
        """Whether mirroring is harmless, by the check that ``tlkit train`` makes."""
        from tlkit.backbones.extractor import TOP, columns_of
        from tlkit.linear.flip_check import balanced_sample, check_flips
        from tlkit.store.features import rounded

        places = balanced_sample(labels, self.seed)
        pixels = self.decoded.pixels([self.train[place] for place in places])
        forward = extractor.forward()
        parts = [np.ascontiguousarray(pixels[i : i + 32, :, ::-1]) for i in range(0, len(pixels), 32)]
        mirrored = np.concatenate([rounded(forward(part)) for part in parts])[:, columns_of(extractor.taps, [TOP])]
        return check_flips(self._matrix[places], mirrored, [labels[i] for i in places], places, self.seed).harmless

    def recipe(self, steps: int | None) -> Any:
        """The default one, for so many steps, with few looks and no patience."""
        from tlkit.plan.recipe import make_recipe

        made = make_recipe(len(self.train), flip=self.flip)
        steps = steps or made.steps
        every = math.ceil(steps / LOOKS)
        return replace(made, steps=steps, evaluate_every=every, patience=NEVER, interpolation=1.0)


def compare(setting: Setting, steps: int | None, chosen: dict[str, Change], known: dict[str, Row]) -> Iterator[Row]:
    """Rows of the default and of each alternative, from ``known`` where it has them."""
    base = setting.recipe(steps)
    default = run(setting, DEFAULT, base, Change({}), known)
    yield default
    yield {
        **default,
        "alternative": LAST_WEIGHTS,
        **{name: default[f"last_{name}"] for name in ("val_accuracy", "val_loss", "test_accuracy", "test_loss")},
    }
    for name, change in chosen.items():
        count = max(1, round(change.share_of_steps * base.steps))
        recipe = replace(base, steps=count, evaluate_every=math.ceil(count / LOOKS), **change.recipe)
        yield run(setting, name, recipe, change, known)


def run(setting: Setting, name: str, recipe: Any, change: Change, known: dict[str, Row]) -> Row:
    """One training run, unless it is known."""
    row: Row = {
        "benchmark": "recipe",
        "images": setting.name,
        "per_class": setting.per_class,
        "image_size": setting.size,
        "seed": setting.seed,
        "alternative": name,
        "train": len(setting.train),
        "val": len(setting.val),
        "test": len(setting.test),
        "recipe": recipe.to_json(),
    }
    if (kept := known.get(key_of(row))) is not None:
        return kept
    from tlkit.backbones.runtime import import_keras
    from tlkit.finetune import loop as fitting
    from tlkit.finetune.job import evaluate
    from tlkit.progress import SilentProgress

    start = time.perf_counter()
    import_keras().backend.clear_session()  # of the run before
    job = job_of(setting, recipe, change)
    schedule: AbstractContextManager[Any] = nullcontext()
    if change.constant_rate:
        schedule = mock.patch.object(fitting, "rate_at", lambda its, progress: min(1.0, progress / its.warm_up))
    looks: list[Row] = []

    def look(its: Row) -> None:
        loss, accuracy = evaluate(job.trainer, job.inputs, setting.test, setting.labels)
        figures = {"val_accuracy": its["val_accuracy"], "val_loss": its["val_loss"]}
        looks.append({**figures, "test_accuracy": accuracy, "test_loss": loss})

    with schedule:
        outcome = fitting.fit(job, SilentProgress(), observe=look)
    best = looks[outcome.rows.index(outcome.best)]
    return {
        **row,
        "recipe": recipe.to_json(),
        **{f"start_{name}": round(value, 5) for name, value in looks[0].items()},
        **{name: round(value, 5) for name, value in best.items()},
        "best_step": outcome.best["step"],
        **{f"last_{name}": round(value, 5) for name, value in looks[-1].items()},
        "seconds": round(time.perf_counter() - start, 1),
    }


def job_of(setting: Setting, recipe: Any, change: Change) -> Any:
    """A new network, with the head it starts from."""
    from tlkit.backbones.build import build_backbone
    from tlkit.backbones.extractor import TOP
    from tlkit.finetune.inputs import PixelInputs
    from tlkit.finetune.job import Job
    from tlkit.finetune.step import Trainer
    from tlkit.finetune.trainable import make_trainable

    head = setting.head
    if change.random_head:
        kernel = np.random.default_rng(setting.seed).normal(0, 0.01, head.kernel.shape).astype(np.float32)
        head = replace(head, kernel=kernel, bias=np.zeros_like(head.bias))
    trainable = make_trainable(
        build_backbone(BACKBONE, input_size=setting.size),
        head,
        [TOP],
        boundary=None,
        split=False,
        layer_decay=recipe.layer_decay,
        batch_norm=recipe.batch_norm,
    )
    inputs = PixelInputs(setting.decoded)
    return Job(
        Trainer(trainable, recipe), recipe, inputs, setting.labels, setting.train, setting.val, None, setting.seed
    )


def summary(rows: Sequence[Row]) -> dict[str, Row]:
    """By alternative: how much better the default is over folders and seeds, and on how many folders not worse."""
    default = {place_of(row): row for row in rows if row["alternative"] == DEFAULT}
    found: dict[str, Row] = {}
    for name in dict.fromkeys(row["alternative"] for row in rows if row["alternative"] != DEFAULT):
        theirs = [row for row in rows if row["alternative"] == name]
        ours = [default[place_of(row)] for row in theirs]
        on_val = mean(100 * (a["val_accuracy"] - b["val_accuracy"]) for a, b in zip(ours, theirs, strict=True))
        points: dict[str, list[float]] = {}
        losses: dict[str, list[float]] = {}
        for its, row in zip(ours, theirs, strict=True):
            points.setdefault(row["images"], []).append(100 * (its["test_accuracy"] - row["test_accuracy"]))
            losses.setdefault(row["images"], []).append(row["test_loss"] - its["test_loss"])
        found[name] = {
            "runs": sum(map(len, points.values())),
            "default_more_points": round(mean(chain(*points.values())), 2),
            "default_more_val_points": round(on_val, 2),
            "default_less_log_loss": round(mean(chain(*losses.values())), 4),
            "folders": len(points),
            "default_at_least_as_accurate_on": sum(mean(each) >= 0 for each in points.values()),
            "default_at_most_as_much_log_loss_on": sum(mean(each) >= 0 for each in losses.values()),
            "points_by_folder": {images: round(mean(each), 2) for images, each in points.items()},
        }
    return found


def place_of(row: Row) -> tuple[Any, ...]:
    """Which images a run was on."""
    return row["images"], row["per_class"], row["image_size"], row["seed"]


def key_of(row: Row) -> str:
    """What makes a run the same as another."""
    # older lines lack what was added to recipes since
    recipe = {"keep": "best", "l2_sp": 0.0, "interpolation": 1.0} | row["recipe"]
    return json.dumps(
        [*place_of(row), row["alternative"], row["train"], row["val"], row["test"], recipe], sort_keys=True
    )


if __name__ == "__main__":
    main()
