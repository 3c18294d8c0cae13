"""The head on more features than fit in memory: time, memory and accuracy against the solution in memory.

    python head_out_of_core.py --images 200000 --columns 1280 --classes 1000

Features are made: pooled activations are positive, classes are clusters in a space of few dimensions, and the variance
of the rest falls off as it does in a network. Each solution runs in a process of its own, whose memory is the most
that it held; 20,000 other images test it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from measure import machine

TESTED, STEP, HIDDEN, NOISE = 20_000, 4096, 64, 2.2


def rows(count: int, columns: int, classes: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (features, labels), a few thousand images at a time."""
    fixed, rng = np.random.default_rng(1), np.random.default_rng(seed)
    centres = fixed.normal(size=(classes, HIDDEN)).astype(np.float32)
    mixing = (fixed.normal(size=(HIDDEN, columns)) / np.sqrt(HIDDEN)).astype(np.float32)
    spread = (1 / np.sqrt(1 + np.arange(columns) / 20)).astype(np.float32)
    for start in range(0, count, STEP):
        size = min(STEP, count - start)
        labels = rng.integers(0, classes, size)
        hidden = centres[labels] + NOISE * rng.standard_normal((size, HIDDEN), dtype=np.float32)
        own = rng.standard_normal((size, columns), dtype=np.float32) * spread
        yield np.maximum(hidden @ mixing + own, 0).astype(np.float16).astype(np.float32), labels


def solved(kind: str, args: argparse.Namespace, out: Any) -> None:
    """Solve one way and send the figures."""
    from tlkit.linear.head import solve_head
    from tlkit.progress import SilentProgress
    from tlkit.store.disk_matrix import DiskMatrix

    passes = 0

    class Counting(SilentProgress):
        def phase(self, name: str, total: int | None) -> Any:
            return _Counted(super().phase(name, total))

    class _Counted:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __enter__(self) -> Any:
            def advance(count: int) -> None:
                nonlocal passes
                passes += count

            self.inner.__enter__()
            return advance

        def __exit__(self, *error: object) -> None:
            self.inner.__exit__(*error)

    shape = (args.images, args.columns)
    features: Any = DiskMatrix(*shape) if kind == "out of core" else np.empty(shape, dtype=np.float32)
    labels = np.empty(args.images, dtype=np.int64)
    place = 0
    for some, its in rows(*shape, args.classes, 2):
        for row, vector in enumerate(some):
            features[place + row] = vector
        labels[place : place + len(its)] = its
        place += len(its)
    start = time.perf_counter()
    head = solve_head(features, labels.tolist(), args.classes, c=args.c or None, progress=Counting())
    seconds = time.perf_counter() - start
    right, loss, seen = 0, 0.0, 0
    for some, its in rows(TESTED, args.columns, args.classes, 3):
        shares = head.probabilities(some)
        right += int((shares.argmax(axis=1) == its).sum())
        loss -= float(np.log(np.maximum(shares[np.arange(len(its)), its], 1e-12)).sum())
        seen += len(its)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    out.send(
        {
            "way": kind,
            "c": head.c,
            "seconds": round(seconds, 1),
            "passes": passes,
            "memory_gib": round(memory, 2),
            "accuracy": round(right / seen, 4),
            "log_loss": round(loss / seen, 4),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--c", type=float, default=0.01, help="inverse L2 strength; 0: choose it as train does")
    parser.add_argument("--only", choices=["out of core", "in memory"], help="one of the two")
    args = parser.parse_args()
    for kind in [args.only] if args.only else ["out of core", "in memory"]:
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        process = context.Process(target=solved, args=(kind, args, theirs))
        process.start()
        theirs.close()
        print(json.dumps({**vars(args), **mine.recv(), **machine()}), flush=True)
        process.join()


if __name__ == "__main__":
    main()
