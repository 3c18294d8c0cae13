"""``tlkit check --no-suspects`` on 10,000 small images against a bare two-thread Pillow loop, one JSON line.

    python benchmarks/check_speed.py FOLDER --count 10000

The images of FOLDER are taken as often as needed, each under different bytes (a JPEG comment), so that nothing is
saved on copies. The two are run in turn; the ratio is the median of the pairs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import JPEG, fill, machine, run_tlkit

BARE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from PIL import Image

def read(path):
    with Image.open(path) as image:
        image.convert("RGB")

with ThreadPoolExecutor(2) as pool:
    for _ in pool.map(read, sorted(Path(sys.argv[1]).rglob("*.jpg"))):
        pass
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        root = place / "images"
        fill(root, arguments.images, arguments.count, JPEG)
        bare, ours, peaks = [], [], []
        for _ in range(arguments.pairs):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", BARE, str(root)], check=True)
            bare.append(time.perf_counter() - start)
            ran = run_tlkit("check", root, "--no-suspects", "--workers", 2, "--json", cwd=place, env={})
            ours.append(ran.seconds)
            peaks.append(ran.peak_mib)
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    figures = {
        "benchmark": "check_speed",
        "images": arguments.images.name,
        "count": ran.result["images"],
        "bare_seconds": round(statistics.median(bare), 2),
        "check_seconds": round(statistics.median(ours), 2),
        "ratio": round(statistics.median(ratios), 3),
        "peak_mib": max(peaks),
        **machine(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
