"""How much training unlearns: last-layers and fine-tune by learning rate, steps and L2-SP, one JSON line a run.

    python forgetting.py FOLDER FOLDER... --variants 3e-4,0.5 1e-3,1 --table forgetting.jsonl --cache DIR
    python forgetting.py --table forgetting.jsonl --report

For each folder, number of images a class and seed, the embedded network starts from its solved head and is trained
with each variant of the recipe. Its weights are then interpolated with those it started from (WiSE-FT, Wortsman et al.
2022). The figures of each network are accuracy and log loss on the validation and on the test images, and log loss
after temperature scaling on both. ``fall`` is that of the trained network below that of the frozen one on the
validation images, relative, and how many standard errors it is. A run resumes where the table ends. NAME_test beside
a folder NAME has its test images. ``--report`` prints test accuracies by share of the trained weights, and what the
rule of `tlkit.finetune.lr_search` comes to on the folders that have both rates.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine
from strategies import report, rows_in

from tlkit.finetune.lr_search import MIN_FALL, MIN_TRAIN

BACKBONE, SIDE = "efficientnet-lite0", 224
MAX_VAL, MAX_TEST, TEST_SHARE = 150, 300, 0.35
ALPHAS = (0.25, 0.5, 0.75)  # shares of the tuned weights
LOOKS = 3  # during a run, besides its end

Row = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A recipe to measure: peak rate, share of tlkit's steps, L2-SP, what is trained."""

    rate: float
    steps: float = 1.0
    l2_sp: float = 0.0
    strategy: str = "last-layers"
    layer_decay: float = 1.0

    @property
    def name(self) -> str:
        """What makes it the same as another."""
        more = (f" l2sp {self.l2_sp:g}" if self.l2_sp else "") + (
            f" decay {self.layer_decay:g}" if self.layer_decay != 1 else ""
        )
        return f"{self.strategy} {self.rate:g} x{self.steps:g}{more}"


def variant_of(text: str) -> Variant:
    """From RATE,STEPS,L2SP,STRATEGY,LAYER_DECAY; those at the end may be missing."""
    parts = text.split(",")
    return Variant(*(kind(part) for kind, part in zip((float, float, float, str, float), parts, strict=False)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="*")
    parser.add_argument("--per-class", type=int, nargs="+", default=[20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", type=variant_of, nargs="+", default=[], help="RATE,STEPS,L2SP,STRATEGY,DECAY")
    parser.add_argument("--table", type=Path, required=True, help="append runs here, and skip those it holds")
    parser.add_argument("--cache", type=Path, help="tlkit's cache, for features and stored outputs")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if arguments.report:
        print_report([*rows_in(arguments.table)])
        return
    if arguments.cache is not None:
        os.environ["TLKIT_CACHE"] = str(arguments.cache)
    from tlkit.finetune.hardware import keep_memory

    keep_memory()
    known = {key_of(row) for row in rows_in(arguments.table)}
    for count in arguments.per_class:
        for seed in arguments.seeds:
            for images in arguments.images:
                place = {"images": images.name, "per_class": count, "seed": seed}
                todo = [each for each in arguments.variants if key_of({**place, "variant": each.name}) not in known]
                if not todo:
                    continue
                with ExitStack() as stack:
                    setting = Setting(images, count, seed, stack)
                    for variant in todo:
                        row = {"benchmark": "forgetting", **place, "variant": variant.name, **vars(variant)}
                        row |= setting.run(variant)
                        report({**row, **machine()}, arguments.table)


def key_of(row: Row) -> str:
    """What makes a run the same as another."""
    return f"{row['images']}-{row['per_class']}-{row['seed']}-{row['variant'].replace(' ', '_')}"


class Setting:
    """Images of a folder for training, validation and test, a solved head, and inputs for training."""

    def __init__(self, images: Path, per_class: int, seed: int, stack: ExitStack) -> None:
        from tlkit.backbones.extractor import TOP, open_extractor
        from tlkit.backbones.features import compute_features
        from tlkit.linear.head import solve_head
        from tlkit.store.decoded import decode_all

        parts, self.classes = drawn(images, per_class, seed)
        listed = [each for part in parts for each in part]
        self.seed, self.stack = seed, stack
        self.labels = np.asarray([label for _, label in listed], np.int32)
        self.decoded = stack.enter_context(decode_all([path for path, _ in listed], (SIDE, SIDE)))
        part_of = np.repeat(np.arange(3), [len(part) for part in parts])
        self.train, self.val, self.test = (
            tuple(i for i in self.decoded.rows if part_of[i] == part) for part in range(3)
        )
        self.extractor = open_extractor(BACKBONE, input_size=SIDE)
        features = compute_features(self.decoded.paths, self.extractor, taps=[TOP])
        row_of = {image: row for row, image in enumerate(features.rows)}
        self._matrix = features.matrix[[row_of[i] for i in self.train]]
        self.head = solve_head(self._matrix, self.labels[list(self.train)].tolist(), self.classes, seed=seed)
        self._built: dict[Any, Any] = {}
        self.flip = self._may_flip()

    def _may_flip(self) -> bool:
        """Whether mirroring is harmless, by the check that ``tlkit train`` makes."""
        from tlkit.backbones.extractor import TOP, columns_of
        from tlkit.linear.flip_check import balanced_sample, check_flips
        from tlkit.store.features import rounded

        labels = self.labels[list(self.train)].tolist()
        places = balanced_sample(labels, self.seed)
        pixels = self.decoded.pixels([self.train[place] for place in places])
        forward = self.extractor.forward()
        parts = [np.ascontiguousarray(pixels[i : i + 32, :, ::-1]) for i in range(0, len(pixels), 32)]
        mirrored = np.concatenate([rounded(forward(part)) for part in parts])
        mirrored = mirrored[:, columns_of(self.extractor.taps, [TOP])]
        return bool(
            check_flips(self._matrix[places], mirrored, [labels[i] for i in places], places, self.seed).harmless
        )

    def recipe(self, variant: Variant) -> Any:
        """The default one, with the variant's settings, few looks and no patience."""
        from tlkit.plan.recipe import make_recipe

        made = make_recipe(len(self.train), flip=self.flip, learning_rate=variant.rate)
        steps = max(1, round(made.steps * variant.steps))
        return replace(
            made,
            steps=steps,
            l2_sp=variant.l2_sp,
            layer_decay=variant.layer_decay,
            evaluate_every=math.ceil(steps / LOOKS),
            patience=10**9,
            keep="last",
        )

    def job(self, variant: Variant) -> Any:
        """A job at its start; networks are built once for all variants that only differ in rate and steps."""
        from tlkit.backbones.build import build_backbone
        from tlkit.backbones.extractor import TOP
        from tlkit.backbones.operations import count_operations
        from tlkit.finetune.inputs import MapInputs, PixelInputs, make_augmenter
        from tlkit.finetune.job import Job
        from tlkit.finetune.maps import compute_maps
        from tlkit.finetune.step import Trainer, restore, snapshot
        from tlkit.finetune.trainable import default_boundary, make_trainable
        from tlkit.progress import SilentProgress

        recipe = self.recipe(variant)
        kind = variant.strategy, variant.l2_sp, variant.layer_decay
        if kind not in self._built:
            self._built.clear()
            network = build_backbone(BACKBONE, input_size=SIDE)
            split = variant.strategy == "last-layers"
            boundary = default_boundary(network.stages, count_operations(network)) if split else None
            inputs: Any = PixelInputs(self.decoded)
            if split:
                stage = next(each for each in network.stages if each.name == boundary)
                views, augmenter = 6, make_augmenter(recipe)

                def maps(images: Sequence[int], versions: int) -> Any:
                    found = compute_maps(
                        self.decoded,
                        images,
                        self.extractor,
                        stage,
                        versions=versions,
                        kind=f"forgetting {recipe.augment} {recipe.flip}",
                        augment=augmenter,
                        workers=None,
                        progress=SilentProgress(),
                    )
                    self.stack.callback(found.close)
                    return found

                inputs = MapInputs(maps(self.train, views), maps((*self.val, *self.test), 1), views)
            trainable = make_trainable(
                network,
                self.head,
                [TOP],
                boundary=boundary,
                split=split,
                layer_decay=recipe.layer_decay,
                batch_norm=recipe.batch_norm,
            )
            trainer = Trainer(trainable, recipe)
            self._built[kind] = trainer, inputs, snapshot(trainer.state())
        trainer, inputs, start = self._built[kind]
        restore(trainer.state(), start)
        trainer.recipe = recipe
        return Job(trainer, recipe, inputs, self.labels, self.train, self.val[:1], None, self.seed)

    def run(self, variant: Variant) -> Row:
        """Train, interpolate, and give accuracy and log loss of everything."""
        from tlkit.finetune.job import all_logits
        from tlkit.finetune.loop import fit
        from tlkit.finetune.step import restore, snapshot
        from tlkit.progress import SilentProgress

        begun = time.perf_counter()
        job = self.job(variant)
        held, state = (*self.val, *self.test), job.trainer.trainable.state
        start = snapshot(state)
        logits = {"0": all_logits(job.trainer, job.inputs, held)}

        def look(its: Row) -> None:
            if 0 < its["step"] < job.recipe.steps:
                logits[f"step {its['step'] / job.recipe.steps:.2f}"] = all_logits(job.trainer, job.inputs, held)

        trained = time.perf_counter()
        fit(job, SilentProgress(), observe=look)
        trained = time.perf_counter() - trained
        end = snapshot(state)
        logits["1"] = all_logits(job.trainer, job.inputs, held)
        for alpha in ALPHAS:
            restore(state, [(1 - alpha) * a + alpha * b for a, b in zip(start, end, strict=True)])
            logits[f"{alpha:g}"] = all_logits(job.trainer, job.inputs, held)
        truth = self.labels[list(held)]
        return {
            "train": len(self.train),
            "val": len(self.val),
            "test": len(self.test),
            "steps_done": job.recipe.steps,
            "flip": self.flip,
            "fall": fall(logits["0"], logits["1"], truth, len(self.val)),
            "figures": {name: figures(each, truth, len(self.val)) for name, each in logits.items()},
            "train_seconds": round(trained, 1),
            "seconds": round(time.perf_counter() - begun, 1),
        }


def figures(logits: np.ndarray, truth: np.ndarray, val: int) -> list[float]:
    """Accuracy and log loss on validation, on test images; calibrated log loss on both."""
    raw, calibrated, right = (
        losses_of(logits, truth, val),
        losses_of(logits, truth, val, True),
        logits.argmax(1) == truth,
    )
    found = [right[:val], raw[:val], right[val:], raw[val:], calibrated[:val], calibrated[val:]]
    return [round(float(each.mean()), 4) for each in found]


def fall(start: np.ndarray, end: np.ndarray, truth: np.ndarray, val: int) -> list[float]:
    """How far calibrated log loss on the validation images falls: share of it, and standard errors."""
    before, after = (losses_of(each, truth, val, True)[:val] for each in (start, end))
    less = before - after
    error = less.std(ddof=1) / math.sqrt(val)
    return [round(float(less.mean() / before.mean()), 3), round(float(less.mean() / error), 2)]


def losses_of(logits: np.ndarray, truth: np.ndarray, val: int, calibrated: bool = False) -> np.ndarray:
    """Log loss of each image, nats; calibrated by the temperature of the validation images."""
    from scipy.special import log_softmax, softmax

    from tlkit.linear.temperature import fit_temperature

    temperature = 1.0
    if calibrated:
        temperature = fit_temperature(softmax(logits[:val], axis=1), truth[:val].tolist())
    return -np.asarray(log_softmax(logits / temperature, axis=1)[np.arange(len(truth)), truth])


def print_report(rows: list[Row]) -> None:
    """Test accuracy by share of the trained weights, and what the rule comes to."""
    shares = ("0", *(f"{alpha:g}" for alpha in ALPHAS), "1")
    print("| images, per class, seed | variant | " + " | ".join(f"{float(each):.0%}" for each in shares) + " | fall |")
    for row in rows:
        test = " | ".join(f"{100 * row['figures'][share][2]:.1f}" for share in shares)
        place = f"{row['images']}, {row['per_class']}, {row['seed']}"
        print(f"| {place} | {row['variant']} | {test} | {row['fall'][0]:.0%} ({row['fall'][1]:.1f} se) |")
    print(
        "| images | frozen | always high | low, half trained | rule, half trained if low | rule, validation chooses |"
    )
    first = [row for row in rows if row["variant"] == "last-layers 0.0003 x0.5"]
    for low in first:
        place = low["images"], low["per_class"], low["seed"]
        high = [row for row in rows if (row["images"], row["per_class"], row["seed"]) == place and row["rate"] == 1e-3]
        high = [row for row in high if row["strategy"] == "last-layers" and not row["l2_sp"]]
        if not high:
            continue
        best = max(high, key=lambda row: row["steps"])  # with the steps of the second training, if measured
        more = low["fall"][0] >= MIN_FALL and low["fall"][1] >= 1 and low["train"] >= MIN_TRAIN
        plain = best["figures"]["1"] if more else low["figures"]["0.5"]
        its = (best if more else low)["figures"]
        chosen = its[min(shares[1:], key=lambda share: its[share][4])]
        found = low["figures"]["0"], best["figures"]["1"], low["figures"]["0.5"], plain, chosen
        print("| " + " | ".join([", ".join(map(str, place)), *(f"{100 * each[2]:.1f}" for each in found)]) + " |")


def drawn(images: Path, per_class: int, seed: int) -> tuple[tuple[list[tuple[Path, int]], ...], int]:
    """Training, validation and test images with labels, and the number of classes.

    Held-out images do not depend on the number of training images.
    """
    from tlkit.images.folder import scan

    folder = scan(images)
    rng = np.random.default_rng(seed)
    count = len(folder.classes)
    beside = images.with_name(f"{images.name}_test")
    others = scan(beside) if beside.exists() else None
    parts: tuple[list[tuple[Path, int]], ...] = ([], [], [])
    for label in range(count):
        listed = [
            (path, split)
            for path, its, split in zip(folder.paths, folder.labels, folder.splits, strict=True)
            if its == label
        ]
        listed = [listed[i] for i in rng.permutation(len(listed))]
        pool = [path for path, split in listed if split != "val"]
        held = [path for path, split in listed if split == "val"]
        if others is not None:
            held = [path for path, its in zip(others.paths, others.labels, strict=True) if its == label]
            held = [held[i] for i in rng.permutation(len(held))]
        elif not held:
            share = min(MAX_TEST // count, int(TEST_SHARE * len(pool)))
            held, pool = pool[:share], pool[share:]
        train, rest = pool[:per_class], pool[per_class:]
        val = rest[::-1][: MAX_VAL // count]
        for part, some in zip(parts, (train, val, held[: MAX_TEST // count]), strict=True):
            part.extend((path, label) for path in some)
    return parts, count


if __name__ == "__main__":
    main()
