"""What no tool can go below on these cores: decoding alone and the network alone, one JSON line.

    python benchmarks/floor.py FOLDER --pairs 3

Decoding: every image once through plain Pillow (JPEG draft mode, RGB, bicubic to 224x224), with threads and with
processes, as many as cores; no pixels travel between the processes. The network: EfficientNet-Lite0 on pixels in
memory, by every engine at hand, measured on the pixels of at most 300 images and scaled to the folder's count. Both
keep all cores busy, so the floor is the sum of the fastest of each. Every way runs in a fresh process, warmed up, in
turn; figures are medians of the pairs. Starting, imports and cold file caches are not in them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from measure import SIDE, Run, cores, images_below, lite_network, machine, run_json

MOST = 300  # images' pixels the network is measured on

Round = dict[str, Run]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, help="measure on so many of them and scale; default: all")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--only", choices=WAYS, help="measure one way once, in this process")
    arguments = parser.parse_args()
    images = arguments.images.resolve()
    if arguments.only:
        print(json.dumps(WAYS[arguments.only](images_below(images)[: arguments.count])))
        return
    rounds = [measure_once(images, arguments.count) for _ in range(arguments.pairs)]
    figures = {"benchmark": "floor", "images": images.name, **summary(rounds, len(images_below(images)))}
    print(json.dumps({**figures, **machine()}))


def measure_once(images: Path, count: int | None = None) -> Round:
    """Every way once, each in a fresh process."""
    few = [] if count is None else ["--count", count]
    command = [sys.executable, Path(__file__).resolve(), images, *few, "--only"]
    return {way: run_json([*command, way], cwd=images, env={}) for way in WAYS}


def summary(rounds: Sequence[Round], images: int) -> dict[str, Any]:
    """Images a second and memory of each way, the fastest ones, and the seconds ``images`` take with them."""
    rates = {way: statistics.median(each[way].result for each in rounds) for way in WAYS}
    decode, forward = (max(ways, key=lambda way: rates[way]) for ways in (DECODE, FORWARD))
    return {
        "count": images,
        "decode_per_second": {way: round(rates[way], 1) for way in DECODE},
        "forward_per_second": {way: round(rates[way], 1) for way in FORWARD},
        "forward_of_fastest": {way: round(rates[way] / rates[forward], 3) for way in FORWARD},
        "peak_mib": {way: max(each[way].peak_mib for each in rounds) for way in WAYS},
        "fastest_decode": decode,
        "fastest_forward": forward,
        "decode_seconds": round(images / rates[decode], 2),
        "forward_seconds": round(images / rates[forward], 2),
        "floor_seconds": round(images / rates[decode] + images / rates[forward], 2),
    }


def decode(pool: type[Executor], paths: list[Path]) -> float:
    """Images a second with a pool's workers."""
    with pool(cores()) as workers:
        list(workers.map(shrink, paths[:64]))
        start = time.perf_counter()
        for _ in workers.map(shrink, paths, chunksize=max(1, min(64, len(paths) // (4 * cores())))):
            pass
        return len(paths) / (time.perf_counter() - start)


def shrink(path: Path) -> None:
    """Read one image and let go of it; a damaged one costs what it costs."""
    pixels_of(path)


def pixels_of(path: Path) -> Any:
    """An image brought to the network's size; None if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.draft("RGB", (SIDE, SIDE))
            return image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    except (OSError, ValueError, SyntaxError):
        return None


def some_pixels(paths: list[Path]) -> Any:
    """uint8 [n, 224, 224, 3] of the first images that can be read."""
    import numpy as np

    found = (pixels_of(path) for path in paths[:MOST])
    return np.stack([np.asarray(image) for image in found if image is not None])


def litert(workers: int, threads: int, batch: int, paths: list[Path]) -> float:
    """Images a second with ``workers`` interpreters of ``threads`` threads each."""
    pixels = some_pixels(paths)
    count = math.ceil(len(pixels) / batch)
    waiting = iter(
        [pixels.take(range(start * batch, (start + 1) * batch), axis=0, mode="wrap") for start in range(count)]
    )

    def work(network: Callable[[Any], Any]) -> None:
        for each in waiting:  # each batch is handed out once, whichever thread asks
            network(each)

    networks = [lite_network(batch, threads) for _ in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        start = time.perf_counter()
        list(pool.map(work, networks))
        return count * batch / (time.perf_counter() - start)


def keras_predict(paths: list[Path]) -> float:
    """Images a second with Keras's ``model.predict``."""
    import numpy as np

    from tlkit.backbones.build import build_backbone

    model, pixels = build_backbone("efficientnet-lite0").model, some_pixels(paths).astype(np.float32)
    model.predict(pixels[:64], batch_size=32, verbose=0)
    model.predict(pixels[-(len(pixels) % 32) :], batch_size=32, verbose=0)  # the last batch has a shape of its own
    start = time.perf_counter()
    model.predict(pixels, batch_size=32, verbose=0)
    return len(pixels) / (time.perf_counter() - start)


def tf_function(paths: list[Path]) -> float:
    """Images a second with a ``tf.function`` of the Keras model, batches of 32."""
    import numpy as np

    from tlkit.backbones.build import build_backbone

    model, pixels = build_backbone("efficientnet-lite0").model, some_pixels(paths)
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.uint8)])
    def forward(batch: Any) -> Any:
        return tf.reduce_mean(model(tf.cast(batch, tf.float32), training=False), axis=[1, 2])

    for _ in range(2):
        np.asarray(forward(pixels[:32]))
    start = time.perf_counter()
    for first in range(0, len(pixels), 32):
        np.asarray(forward(pixels[first : first + 32]))
    return len(pixels) / (time.perf_counter() - start)


DECODE: dict[str, Callable[[list[Path]], float]] = {
    "threads": partial(decode, ThreadPoolExecutor),
    "processes": partial(decode, ProcessPoolExecutor),
}
FORWARD: dict[str, Callable[[list[Path]], float]] = {
    "litert, all cores, batch 1": partial(litert, 1, cores(), 1),
    "litert, all cores, batch 8": partial(litert, 1, cores(), 8),
    "litert, one a core, batch 1": partial(litert, cores(), 1, 1),
    "litert, one a core, batch 4": partial(litert, cores(), 1, 4),
    "keras predict": keras_predict,
    "tf.function": tf_function,
}
WAYS = {**DECODE, **FORWARD}


if __name__ == "__main__":
    main()
