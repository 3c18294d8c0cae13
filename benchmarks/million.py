"""A million files on one machine: scanning, the start of predict, its memory, and the search for near copies.

    python million.py hashes            # near copies among a million made hashes, and the same pairs as by brute force
    python million.py files --image FILE --model BUNDLE [--seconds 120]

``files`` makes a tree of a million hard links to one small image, a thousand in each folder, scans it, and has ``tlkit
predict --output`` work on it for a while: until the first row, and memory at the first row and at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import TLKIT, fresh_cache, machine

FOLDER, LINKS, SUBSET = 1000, 50_000, 20_000


def made_hashes(count: int, seed: int = 0) -> list[bytes]:
    """Hashes of made images of low frequencies, whose neighbouring bits are alike as in photos; 1% are copies."""
    rng, step = np.random.default_rng(seed), np.arange(9) / 8
    waves = [
        np.outer(np.cos(np.pi * i * step), np.cos(np.pi * j * step)).ravel() / (1 + i * i + j * j)
        for i in range(8)
        for j in range(8)
        if i + j
    ]
    basis, parts = np.stack(waves).astype(np.float32), []
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        grey = (rng.standard_normal((size, len(basis)), dtype=np.float32) @ basis).reshape(-1, 9, 9)
        bits = [(grey[:, :8, 1:] > grey[:, :8, :-1]), (grey[:, 1:, :8] > grey[:, :-1, :8])]
        parts.append(np.packbits(np.concatenate([each.reshape(size, -1) for each in bits], axis=1), axis=1))
    found, copies = np.concatenate(parts), count // 100
    found[count - copies :] = found[rng.integers(0, count - copies, copies)]
    for row in range(count - copies, count):
        for bit in rng.choice(128, rng.integers(0, 9), replace=False):
            found[row, bit // 8] ^= 128 >> (bit % 8)
    return [bytes(each) for each in found]


def hashes(count: int) -> None:
    """Print time and memory of the search, and whether a subset gives the same pairs as comparing all."""
    from tlkit.images import duplicates
    from tlkit.images.duplicates import near_pairs

    prints = made_hashes(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, used = time.perf_counter(), time.process_time()
    pairs = sum(1 for _ in near_pairs(prints, duplicates.LIKELY_BITS))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    few = prints[-SUBSET:] + prints[:SUBSET]
    indexed = sorted(near_pairs(few, duplicates.LIKELY_BITS))
    duplicates.MANY = len(few)
    start = time.perf_counter()
    same = sorted(near_pairs(few, duplicates.LIKELY_BITS)) == indexed
    say(
        hashes=count,
        bits=duplicates.LIKELY_BITS,
        pairs=pairs,
        seconds=round(seconds, 1),
        processor_seconds=round(used, 1),
        added_mib=round(after - before),
        subset=len(few),
        subset_pairs=len(indexed),
        same_pairs=same,
        subset_brute_force_seconds=round(time.perf_counter() - start, 1),
    )


def files(count: int, image: Path, model: Path, seconds: float) -> None:
    """Print how long a scan and the start take, and memory while predict works."""
    with tempfile.TemporaryDirectory(dir=image.parent) as place:
        root = Path(place) / "images"
        for number in range(count):
            if number % FOLDER == 0:
                folder = root / f"{number // FOLDER:04}"
                folder.mkdir(parents=True)
            if number % LINKS == 0:  # a file may have 65,000 names
                named = Path(place) / f"source-{number}{image.suffix}"
                shutil.copy(image, named)
            os.link(named, folder / f"{number:07}{image.suffix}")
        scan = "import sys, time; from tlkit.images.folder import scan; start = time.perf_counter(); "
        scan += "print(len(scan(sys.argv[1]).files), time.perf_counter() - start); import resource; "
        scan += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
        python = str(TLKIT.with_name("python"))
        said = subprocess.run(
            [python, "-c", scan, str(root)], capture_output=True, text=True, check=True
        ).stdout.split()
        say(images=count, scan_seconds=round(float(said[1]), 1), scan_mib=round(float(said[2])))
        output = Path(place) / "rows.csv"
        rows = Path(place) / "rows.csv-run" / "rows.jsonl"
        start = time.perf_counter()
        command = [str(TLKIT), "predict", str(root), "--model", str(model), "--output", str(output)]
        environment = {**os.environ, **fresh_cache(Path(place))}
        running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while running.poll() is None and not list(Path(place).glob("rows.csv*/**/rows.jsonl")):
            time.sleep(0.1)
        rows = next(Path(place).glob("rows.csv*/**/rows.jsonl"))
        while running.poll() is None and not rows.stat().st_size:
            time.sleep(0.1)
        first, memory = time.perf_counter() - start, resident(running.pid)
        time.sleep(seconds)
        last, done = resident(running.pid), sum(1 for _ in rows.open("rb"))
        running.send_signal(signal.SIGTERM)
        running.wait()
        again = time.perf_counter()
        running = subprocess.Popen([*command, "--resume"], env=environment, stderr=subprocess.DEVNULL)
        kept = sum(1 for _ in rows.open("rb"))
        while running.poll() is None and sum(1 for _ in rows.open("rb")) <= kept:
            time.sleep(0.5)
        resumed = time.perf_counter() - again
        running.send_signal(signal.SIGTERM)
        running.wait()
        say(
            images=count,
            first_row_seconds=round(first, 1),
            mib_at_first_row=round(memory),
            rows=done,
            mib_at_the_end=round(last),
            resume_first_row_seconds=round(resumed, 1),
        )


def resident(pid: int) -> float:
    """Resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def say(**figures: object) -> None:
    """Print one line."""
    print(json.dumps({**figures, **machine()}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["hashes", "files"])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--image", type=Path, help="a small image; the tree is made beside it")
    parser.add_argument("--model", type=Path, help="a bundle")
    parser.add_argument("--seconds", type=float, default=120)
    args = parser.parse_args()
    if args.what == "hashes":
        hashes(args.count)
    else:
        files(args.count, args.image.resolve(), args.model.resolve(), args.seconds)


if __name__ == "__main__":
    main()
