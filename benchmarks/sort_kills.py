"""Kill ``predict --sort-into --move`` at random moments, go on, and take everything back.

    python benchmarks/sort_kills.py --model garden.tlkit --files 2000 --kills 20

Makes 2,000 small images in a temporary folder. After every kill each file must be exactly once in one of the two
folders; at the end all are sorted, the journal names each, and ``tlkit undo`` restores contents, names and times.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

COMMAND = str(Path(sysconfig.get_path("scripts")) / "tlkit")


def make(folder: Path, files: int) -> None:
    """Make images that all differ, in three folders, some of one name."""
    rng = np.random.default_rng(0)
    for number in range(files):
        place = folder / f"day{number % 3}" / f"IMG_{number // 3}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(place, quality=60)


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Hash and time of every file."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in found
    }


def main() -> int:
    """Run the trial and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make(place / "photos", chosen.files)
        before = tree(place / "photos")
        contents = sorted(before.values())
        command = [COMMAND, "predict", "photos", "--model", str(Path(chosen.model).absolute())]
        command += ["--sort-into", "sorted", "--move"]
        kills, wait = 0, random.Random(0)
        while kills < chosen.kills:
            process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(wait.uniform(0.5, 2.5))
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:
                print("all files were sorted before the last kill: give more --files", file=sys.stderr)
                break
            kills += 1
            both = {**tree(place / "photos"), **{f"sorted/{k}": v for k, v in tree(place / "sorted").items()}}
            assert sorted(both.values()) == contents, "a file is lost or twice"
        assert subprocess.run(command, cwd=place, check=False, capture_output=True).returncode == 0
        assert not tree(place / "photos")
        assert sorted(tree(place / "sorted").values()) == contents
        lines = [json.loads(line) for line in (place / "sorted.journal.jsonl").read_text().splitlines()]
        named = {line["target"] for line in lines if "target" in line}
        missing = [path for path in tree(place / "sorted") if str(place / "sorted" / path) not in named]
        assert not missing, "the journal does not name every file"
        undo = [COMMAND, "undo", "sorted.journal.jsonl"]
        assert subprocess.run(undo, cwd=place, check=False, capture_output=True).returncode == 0
        assert tree(place / "photos") == before
        assert not (place / "sorted").exists()
    print(json.dumps({"files": chosen.files, "kills": kills, "lost": 0, "doubled": 0, "restored": len(before)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
