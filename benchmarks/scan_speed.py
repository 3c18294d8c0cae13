"""Scanning a folder of many small files against ``os.walk`` and sort, one JSON line.

    python benchmarks/scan_speed.py --files 200000

The files are empty and made in a temporary folder, 100 class folders of equally many. Both are run in turn, each in a
process of its own; the ratio is the median of the pairs, memory is that of the scanning process at its peak.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import machine
from strategies import report

SCAN = "from tlkit.images.folder import scan; run = lambda: scan(sys.argv[1])"
WALK = """
def run():
    return sorted(os.path.join(place, name) for place, _, names in os.walk(sys.argv[1]) for name in names)
"""
TIMED = """
import os, resource, sys, time
{code}
start = time.perf_counter()
run()
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for number in range(100):
            folder = Path(place) / f"class {number}"
            folder.mkdir()
            for index in range(arguments.files // 100):
                (folder / f"IMG_{index}.jpg").touch()
        pairs = [(timed(SCAN, place), timed(WALK, place)) for _ in range(arguments.pairs)]
    report(
        {
            "benchmark": "scan_speed",
            "files": arguments.files,
            "scan_seconds": round(statistics.median(scan[0] for scan, _ in pairs), 3),
            "walk_seconds": round(statistics.median(walk[0] for _, walk in pairs), 3),
            "ratio": round(statistics.median(scan[0] / walk[0] for scan, walk in pairs), 2),
            "peak_mib": round(max(scan[1] for scan, _ in pairs)),
            **machine(),
        },
        None,
    )


def timed(code: str, place: str) -> tuple[float, float]:
    """Seconds, and memory in MiB, of a process that runs the code on a folder."""
    ran = subprocess.run(
        [sys.executable, "-c", TIMED.format(code=code), place], capture_output=True, text=True, check=True
    )
    seconds, memory = map(float, ran.stdout.split())
    return seconds, memory


if __name__ == "__main__":
    main()
