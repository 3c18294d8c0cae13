"""How long until ``tlkit train`` has saved a usable bundle, and until it ends, one JSON line for each size.

    python benchmarks/usable.py FOLDER --counts 100 400 1000 2500 --whole 400

The images of FOLDER are taken as often as needed, each under different bytes, and every run has an empty cache. The
floor is decoding once and one forward pass at 224 pixels, as in ``floor.py``. Runs on more than ``--whole`` images are
ended once the bundle is usable.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from floor import measure_once, summary
from measure import TLKIT, fill, fresh_cache, machine, watch
from strategies import report

USABLE = "note: usable now"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 400, 1000, 2500])
    parser.add_argument("--whole", type=int, default=400, help="number of images up to which runs go to their end")
    arguments = parser.parse_args()
    source = arguments.images.resolve()
    rounds = [measure_once(source, 300)]
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            fill(place / "images", source, count)
            until = None if count <= arguments.whole else USABLE
            ran = watch([TLKIT, "train", place / "images"], cwd=place, env=fresh_cache(place), until=until)
        floor = summary(rounds, count)["floor_seconds"]
        usable = next((second for second, line in ran.err if line.startswith(USABLE)), None)
        report(
            {
                "benchmark": "usable",
                "images": source.name,
                "count": count,
                "floor_seconds": round(floor, 1),
                "usable_seconds": None if usable is None else round(usable, 1),
                "bound_seconds": round(1.3 * floor + 12, 1),
                "whole_seconds": round(ran.seconds, 1) if until is None else None,
                **machine(),
            },
            None,
        )


if __name__ == "__main__":
    main()
