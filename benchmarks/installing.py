"""Size, time to install and time of the first prediction of each installation of docs/install.md.

    python benchmarks/installing.py BUNDLE IMAGE

Each is made in a new virtual environment, without pip's cache, from whatever index pip uses here; so the times to
install depend on the network. A prediction is a process: the first right after the installation, then the median of
five.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from measure import machine

ROOT = Path(__file__).resolve().parent.parent
LEAN, PREDICT_ONLY = ("-r", str(ROOT / "lean.txt")), ("-r", str(ROOT / "predict-only.txt"))
ALONE = ("--no-deps", str(ROOT))
RECIPES = {
    "full": [(str(ROOT),)],
    "full with tensorflow-cpu": [(*LEAN, "tensorflow-cpu", "keras>=3.12,<4"), ALONE],
    "lean": [LEAN, ALONE],
    "predict only": [PREDICT_ONLY, ALONE],
}


def size(folder: Path) -> int:
    """Bytes on the disk."""
    return sum(file.lstat().st_blocks * 512 for file in folder.rglob("*"))


def timed(*command: object) -> float:
    began = time.perf_counter()
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    arguments = parser.parse_args()
    print(json.dumps({"machine": machine()}))
    for name, steps in RECIPES.items():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "venv"
            timed(sys.executable, "-m", "venv", place)
            empty, python = size(place), place / "bin" / "python"
            installing = sum(timed(python, "-m", "pip", "install", "--no-cache-dir", *step) for step in steps)
            predict = (place / "bin" / "tlkit", "predict", arguments.image, "--model", arguments.bundle)
            times = [timed(*predict) for _ in range(6)]
            row = {
                "installation": name,
                "megabytes": round((size(place) - empty) / 1e6),
                "seconds": round(installing),
                "first_prediction": round(times[0], 2),
                "prediction": round(median(times[1:]), 2),
            }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
