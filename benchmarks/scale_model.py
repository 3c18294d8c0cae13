"""What many images cost: workers, hours, storage and money, from measured figures, and a simulation of the workers.

    python scale_model.py                 # the table of docs/scale.md
    python scale_model.py --merge 200000  # measures merging on this machine: rows a second

The model divides the work evenly. The simulation hands out shards one by one to workers of uneven speed. Some workers
are lost; what they had kept is not computed again. All share the bandwidth of the storage. Merging is measured in
processor seconds, so that other programs do not count.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measure import machine


@dataclass(frozen=True)
class Figures:
    """What is measured, and what is assumed.

    Attributes:
        rate: Images a second and core: EfficientNet-Lite0, 224 px, with decoding (`floor.py`, 2 cores).
        row: Bytes of a row in a part.
        vector: Bytes of the features of an image, half precision.
        merge: Rows a second that one core merges.
        start: Seconds until a worker computes, scan of its list not included.
        scan: Files a second that are listed.
        photo: Bytes of an image (assumed).
        cores: Cores of a worker (assumed).
        storage: Bytes a second that the storage delivers to all workers together (assumed).
        core_hour: Price of a core for an hour, dollars (assumed: spot prices of large clouds).
        month: Price of a gigabyte kept for a month, dollars (assumed: object store).
        lost: Workers lost in an hour, as a share (assumed: spot machines).
    """

    rate: float = 64.0
    row: int = 352
    vector: int = 3488
    merge: float = 60_000.0
    start: float = 10.0
    scan: float = 85_000.0
    photo: int = 100_000
    cores: int = 4
    storage: float = 10e9
    core_hour: float = 0.02
    month: float = 0.023
    lost: float = 0.05


def model(images: float, workers: int, its: Figures) -> dict[str, float]:
    """The even division: hours of each step, bytes and dollars."""
    computing = images / (workers * its.cores * its.rate)
    reading = images * its.photo / its.storage
    listing = images / its.scan
    merging = images / its.merge
    total = its.start + listing + max(computing, reading) + merging
    return {
        "images": images,
        "workers": workers,
        "listing_hours": listing / 3600,
        "computing_hours": computing / 3600,
        "reading_hours": reading / 3600,
        "merging_hours": merging / 3600,
        "hours": total / 3600,
        "read_tb": images * its.photo / 1e12,
        "rows_tb": images * its.row / 1e12,
        "vectors_tb": images * its.vector / 1e12,
        "compute_dollars": workers * its.cores * its.core_hour * (total - merging) / 3600,
        "storage_dollars_month": images * (its.photo + its.vector) / 1e9 * its.month,
    }


def simulated(images: float, workers: int, its: Figures, seed: int = 0, shards_each: int = 4) -> dict[str, float]:
    """Hand out shards to uneven workers that may be lost; return hours as `model` does."""
    rng = random.Random(seed)
    shards = workers * shards_each
    share = images / shards
    bound = its.storage / its.photo / workers  # images a second that the storage gives each
    free = [(its.start + images / its.scan, worker) for worker in range(workers)]
    speed = [its.cores * its.rate * rng.lognormvariate(0, 0.1) for _ in range(workers)]
    heapq.heapify(free)
    end, losses = 0.0, 0
    for _ in range(shards):
        now, worker = heapq.heappop(free)
        left = share
        while True:
            pace = min(speed[worker], bound)
            needed, until = left / pace, rng.expovariate(its.lost / 3600)
            if needed <= until:
                break
            # what was computed is kept; a new worker lists the images again
            losses += 1
            left -= pace * until
            now += until + its.start + images / its.scan
        now += needed
        end = max(end, now)
        heapq.heappush(free, (now, worker))
    return {"hours": (end + images / its.merge) / 3600, "lost": losses, "shards": shards}


def merging(rows: int) -> float:
    """Measure rows a second of `tlkit merge`."""
    from tlkit.api.merge import merge
    from tlkit.api.parts import PREDICT, Manifest, write_part
    from tlkit.api.predict import Prediction

    with tempfile.TemporaryDirectory() as place:
        files = []
        for number in range(4):
            places = range(number, rows, 4)
            top = (("daisy", 0.9), ("tulip", 0.05), ("rose", 0.03), ("dandelion", 0.01), ("sunflower", 0.01))
            made = (Prediction(f"photos/{n // 1000:04}/{n:07}.jpg", "daisy", 0.9, top, False, None) for n in places)
            its = Manifest(1, "0", PREDICT, number + 1, 4, len(places), rows, "0" * 64, {"columns": 1, "review": False})
            path = Path(place) / f"rows.csv.part-{number + 1}-of-4"
            write_part(path, its, places, (row.to_json() for row in made))
            files.append(path)
        print(json.dumps({"bytes_of_a_row": round(sum(file.stat().st_size for file in files) / rows)}))
        start = time.process_time()
        merge(files, Path(place) / "rows.csv")
        return rows / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--merge", type=int, metavar="ROWS", help="measure merging of so many rows")
    args = parser.parse_args()
    if args.merge:
        print(json.dumps({"merged_rows_a_second": round(merging(args.merge)), **machine()}))
        return
    its = Figures()
    for images, workers in ((1e6, 1), (1e6, 10), (1e8, 100), (1e8, 1000), (1e10, 1000), (1e10, 10_000)):
        found = {name: round(value, 3) for name, value in model(images, workers, its).items()}
        drawn = simulated(images, workers, its)
        print(json.dumps({**found, **{f"simulated_{name}": round(value, 3) for name, value in drawn.items()}}))


if __name__ == "__main__":
    main()
