"""How fast weights are trained: tlkit's steps against a bare ``model.fit`` of the same network, one JSON line.

    python benchmarks/tune_speed.py FOLDER --steps 12 --memory-kept

All contenders train the embedded network in one process, in turn, so that a busy machine slows all of them; figures
are medians of the rounds, images a second, the first step of each turn left out.

``fine_tune``: the step of ``tlkit train --strategy fine-tune``: augmentation "light", folded BatchNorm, batches
gathered from decoded images on disk, AdamW with a rate for each stage, clipping. ``unfolded``: the same without
folding. ``bare_fit``: ``model.fit`` with Adam on float32 images in memory, not augmented, BatchNorm frozen
(``trainable = False``), which also leaves its gamma and beta alone. ``moving_fit``: ``model.fit`` with everything
trainable and BatchNorm's statistics moving. ``last_layers``: the step of ``--strategy last-layers`` at the default
boundary, on stored outputs of the frozen part. An epoch has as many images in all of them, so ratios of images a
second are ratios of epochs. The once computed part of last-layers is not in its step; ``frozen_part`` is its rate.
``forward``: ``tlkit``'s evaluation, through the network in training. ``litert``: features.

All of them profit from ``hardware.keep_memory``, which this process calls as ``tlkit train`` does. ``--memory-kept``
shows what it brings, with and without it in processes of their own, in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from measure import SIDE, machine, run_json

BATCH = 32
CLASSES = 10
RATE = 1e-4  # of all contenders: what is learnt does not matter here
VERSIONS = 2  # of each image's stored output
IN_PAIRS = ("fine_tune", "bare_fit")  # for --memory-kept

Contender = Callable[[int], list[float]]  # trains so many steps, gives the second at which each ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--image-size", type=int, default=SIDE)
    parser.add_argument("--steps", type=int, default=12, help="of each contender in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-kept", action="store_true", help="also with and without hardware.keep_memory")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="measure these, in this process")
    parser.add_argument("--give-back", action="store_true", help="do not call hardware.keep_memory")
    arguments = parser.parse_args()
    images, size, steps, rounds = arguments.images.resolve(), arguments.image_size, arguments.steps, arguments.rounds
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLKIT_CACHE"] = folder
        rates = measure_in_turn(images, size, steps, rounds, arguments.only or tuple(CONTENDERS), arguments.give_back)
    middle = {name: round(statistics.median(each), 2) for name, each in rates.items()}
    if arguments.only:
        print(json.dumps(middle))
        return
    more = {"memory_kept": memory_kept(images, size, steps, rounds)} if arguments.memory_kept else {}
    figures = {
        "benchmark": "tune_speed",
        "images": images.name,
        "image_size": size,
        "batch": BATCH,
        "steps": steps,
        "rounds": rounds,
        "images_per_second": middle,
        "fine_tune_to_bare_fit": ratio(rates, "fine_tune", "bare_fit"),
        "fine_tune_to_moving_fit": ratio(rates, "fine_tune", "moving_fit"),
        "folded_to_unfolded": ratio(rates, "fine_tune", "unfolded"),
        "last_layers_to_fine_tune": ratio(rates, "last_layers", "fine_tune"),
        "forward_to_fine_tune": ratio(rates, "forward", "fine_tune"),
        **more,
        **machine(),
    }
    print(json.dumps(figures))


def ratio(rates: dict[str, list[float]], one: str, other: str) -> float:
    """Median over the rounds of how many times faster one is."""
    return round(statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True)), 3)


def measure_in_turn(
    images: Path, size: int, steps: int, rounds: int, names: Sequence[str], give_back: bool
) -> dict[str, list[float]]:
    """Images a second of each contender in each round."""
    from tlkit.finetune.hardware import keep_memory

    if not give_back:
        keep_memory()  # before TensorFlow allocates anything
    rates: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        setting = Setting(images, size, steps, stack)
        contenders = {name: CONTENDERS[name](setting) for name in names}
        for run in contenders.values():
            run(2)  # graphs are built, buffers are there
        for number in range(rounds):
            # the other way about every second time: nobody is always first after the same one
            for name in list(contenders)[:: -1 if number % 2 else 1]:
                ends = contenders[name](steps + 1)
                rates[name].append(BATCH * steps / (ends[-1] - ends[0]))
    return rates


def memory_kept(images: Path, size: int, steps: int, rounds: int) -> dict[str, Any]:
    """Contenders in processes of their own, with and without memory that is kept."""
    command = [sys.executable, Path(__file__).resolve(), images, "--image-size", size, "--steps", steps]
    command += ["--rounds", 1, "--only", *IN_PAIRS]
    runs: dict[str, list[Any]] = {"kept": [], "given_back": []}
    for _ in range(rounds):
        runs["kept"].append(run_json(command, cwd=images, env={}))
        runs["given_back"].append(run_json([*command, "--give-back"], cwd=images, env={}))
    rates = {
        how: {name: [each.result[name] for each in ran] for name in IN_PAIRS} | {"mib": [each.peak_mib for each in ran]}
        for how, ran in runs.items()
    }
    found: dict[str, Any] = {
        how: {name: round(statistics.median(values), 2) for name, values in each.items()} for how, each in rates.items()
    }
    for name in IN_PAIRS:
        pairs = zip(rates["kept"][name], rates["given_back"][name], strict=True)
        found[f"{name}_kept_to_given_back"] = round(statistics.median(a / b for a, b in pairs), 3)
    ours, bare = rates["kept"]["fine_tune"], rates["given_back"]["bare_fit"]
    # what a user of either has: tlkit with it, plain Keras without
    found["fine_tune_kept_to_bare_fit_given_back"] = round(
        statistics.median(a / b for a, b in zip(ours, bare, strict=True)), 3
    )
    return found


class Setting:
    """Decoded images, with labels that mean nothing; batches come from the images in turn."""

    def __init__(self, images: Path, size: int, steps: int, stack: ExitStack) -> None:
        from tlkit.images.folder import scan
        from tlkit.plan.recipe import make_recipe
        from tlkit.store.decoded import decode_all

        paths = scan(images).paths
        most = BATCH * (steps + 1)
        some = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:most]]
        self.size, self.steps, self.stack = size, steps, stack
        self.decoded = stack.enter_context(decode_all(some, (size, size)))
        self.rows = self.decoded.rows
        self.labels = np.random.default_rng(0).integers(0, CLASSES, len(some)).astype(np.int32)
        self.recipe = replace(make_recipe(len(self.rows), learning_rate=RATE, augment="light"), batch_size=BATCH)

    def network(self) -> Any:
        """The embedded network, new, with all weights as packaged."""
        from tlkit.backbones.build import build_backbone

        return build_backbone("efficientnet-lite0", input_size=self.size)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """float32 [images, size, size, 3] and labels, of one turn; images repeat where there are few."""
        rows = np.resize(self.rows, BATCH * (self.steps + 1))
        return self.decoded.pixels(rows.tolist()).astype(np.float32), self.labels[rows]


def job_of(setting: Setting, boundary: str | None = None, inputs: Any = None) -> Any:
    """What ``tlkit train`` would run; with a boundary on stored outputs, which ``inputs`` gives."""
    from tlkit.finetune.inputs import PixelInputs
    from tlkit.finetune.job import Job
    from tlkit.finetune.step import Trainer
    from tlkit.finetune.trainable import make_trainable
    from tlkit.linear.head import Head

    network, recipe = setting.network(), setting.recipe
    kernel = np.random.default_rng(0).normal(0, 0.01, (network.model.output.shape[-1], CLASSES)).astype(np.float32)
    trainable = make_trainable(
        network,
        Head(kernel, np.zeros(CLASSES, np.float32), 1.0, ()),
        ["top"],
        boundary=boundary,
        split=boundary is not None,
        layer_decay=recipe.layer_decay,
        batch_norm=recipe.batch_norm,
    )
    rows = tuple(setting.rows)
    return Job(
        Trainer(trainable, recipe), recipe, inputs or PixelInputs(setting.decoded), setting.labels, rows, rows, None, 0
    )


def stepping(job: Any) -> Contender:
    """Steps as in ``fit``: the next batch is gathered meanwhile."""

    def run(steps: int) -> list[float]:
        ends = []
        with ThreadPoolExecutor(1) as pool:
            batch = pool.submit(job.batch, 0)
            for step in range(steps):
                now, batch = batch.result(), pool.submit(job.batch, step + 1)
                job.trainer.step(*now, RATE)
                ends.append(time.perf_counter())
        return ends

    return run


def fine_tune(setting: Setting) -> Contender:
    return stepping(job_of(setting))


def unfolded(setting: Setting) -> Contender:
    with mock.patch("tlkit.finetune.trainable.fold", lambda part: part):
        return stepping(job_of(setting))


def bare_fit(setting: Setting) -> Contender:
    return fitting(setting, moving=False)


def moving_fit(setting: Setting) -> Contender:
    return fitting(setting, moving=True)


def fitting(setting: Setting, moving: bool) -> Contender:
    """``model.fit`` as it is."""
    from tlkit.backbones.runtime import import_keras

    keras = import_keras()
    base = setting.network().model
    if not moving:
        for layer in base.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    x = keras.layers.GlobalAveragePooling2D()(base.output)
    model = keras.Model(base.input, keras.layers.Dense(CLASSES)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss, metrics=["accuracy"])
    pixels, labels = setting.arrays()

    def run(steps: int) -> list[float]:
        ends: list[float] = []
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
        count = BATCH * steps
        model.fit(pixels[:count], labels[:count], batch_size=BATCH, epochs=1, verbose=0, callbacks=[clock])
        return ends

    return run


def last_layers(setting: Setting) -> Contender:
    from tlkit.finetune.inputs import MapInputs

    boundary, maps = frozen_maps(setting, VERSIONS)
    return stepping(job_of(setting, boundary, MapInputs(maps, maps, VERSIONS)))


def frozen_maps(setting: Setting, versions: int, advance: Callable[[int], None] = lambda steps: None) -> Any:
    """The default boundary, and the stored outputs of what lies below."""
    from tlkit.backbones.extractor import open_extractor
    from tlkit.backbones.operations import count_operations
    from tlkit.finetune.inputs import make_augmenter
    from tlkit.finetune.maps import compute_maps
    from tlkit.finetune.trainable import default_boundary
    from tlkit.progress import SilentProgress

    class Watching(SilentProgress):
        @contextmanager
        def phase(self, title: str, total: int | None) -> Iterator[Any]:
            yield lambda steps, status="": advance(steps)

    extractor = open_extractor("efficientnet-lite0", input_size=setting.size)
    network = extractor.network
    boundary = default_boundary(network.stages, count_operations(network))
    stage = next(each for each in network.stages if each.name == boundary)
    maps = compute_maps(
        setting.decoded,
        setting.rows,
        extractor,
        stage,
        versions=versions,
        kind=f"benchmark {time.perf_counter()}",  # never found in the cache
        augment=make_augmenter(setting.recipe),
        workers=None,
        progress=Watching(),
    )
    setting.stack.callback(maps.close)
    return boundary, maps


def frozen_part(setting: Setting) -> Contender:
    """Versions of the frozen part's output, decoding and augmentation included, as they are stored."""

    def run(steps: int) -> list[float]:
        ends: list[float] = []
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            # where the engine's batches are smaller, a "step" ends with the one that completes it
            while done >= BATCH * (len(ends) + 1):
                ends.append(time.perf_counter())

        versions = -(-BATCH * steps // len(setting.rows)) + 1
        frozen_maps(setting, max(2, versions), advance)
        return ends[:steps]

    return run


def forward(setting: Setting) -> Contender:
    job = job_of(setting)
    return passing(setting, job.trainer.logits)


def litert(setting: Setting) -> Contender:
    from tlkit.backbones.extractor import open_extractor

    return passing(setting, open_extractor("efficientnet-lite0", input_size=setting.size).forward())


def passing(setting: Setting, network: Callable[[Any], Any]) -> Contender:
    """Forward passes over batches of the decoded images."""

    def run(steps: int) -> list[float]:
        rows = np.resize(setting.rows, BATCH * steps).reshape(steps, BATCH)
        ends = []
        for some in rows:
            network(setting.decoded.pixels(some.tolist()))
            ends.append(time.perf_counter())
        return ends

    return run


CONTENDERS: dict[str, Callable[[Setting], Contender]] = {
    each.__name__: each
    for each in (fine_tune, unfolded, bare_fit, moving_fit, last_layers, frozen_part, forward, litert)
}


if __name__ == "__main__":
    main()
