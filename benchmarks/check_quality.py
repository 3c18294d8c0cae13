"""Images that look wrong: what ``tlkit check`` and cleanvision find of the same planted faults, one JSON line a set.

    python benchmarks/check_quality.py FOLDER... --cleanvision VENV/bin/python

A copy of up to 400 images of each FOLDER is made. Of every tenth, one fault is planted in turn: blurred (Gaussian, 3%
of the longer side), darkened to a tenth, overexposed five times, or drained of contrast to a twentieth. "found" counts
them; "alarms" are images named though nothing was planted.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from measure import SUFFIXES, machine, run_tlkit
from PIL import Image, ImageFilter

IMAGES, EVERY = 400, 10
KINDS = ("blurry", "dark", "overexposed", "low_information")
THEIRS = {"blurry": "blurry", "dark": "dark", "overexposed": "light", "low_information": "low_information"}
CLEANVISION = """
import json, sys
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1])
lab.find_issues({each: {} for each in ("blurry", "dark", "light", "low_information")}, n_jobs=2)
said = lab.issues
print(json.dumps({each: [str(file) for file in said.index[said[f"is_{each}_issue"]]]
                  for each in ("blurry", "dark", "light", "low_information")}))
"""
PLANT: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blurry": lambda image: image.filter(ImageFilter.GaussianBlur(0.03 * max(image.size))),
    "dark": lambda image: image.point([value // 10 for value in range(256)] * 3),
    "overexposed": lambda image: image.point([min(255, 5 * value + 60) for value in range(256)] * 3),
    "low_information": lambda image: image.point([round(128 + (value - 128) / 20) for value in range(256)] * 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--cleanvision", metavar="PYTHON", help="a Python that has cleanvision")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        with tempfile.TemporaryDirectory() as place:
            print(json.dumps(compare(folder.resolve(), Path(place), arguments.cleanvision)), flush=True)


def compare(source: Path, place: Path, python: str | None) -> dict[str, object]:
    """Plant faults in a copy of a folder, and run both programs on it."""
    root = place / "images"
    planted = copy(source, root)
    ours = run_tlkit("check", root, "--no-suspects", "--json", cwd=place, env={"TLKIT_CACHE": str(place / "cache")})
    found = {kind: {str(root / file) for file in ours.result[kind]} for kind in KINDS}
    figures: dict[str, object] = {"benchmark": "check_quality", "images": source.name, "count": ours.result["images"]}
    figures["planted"] = {kind: len(files) for kind, files in planted.items()}
    blank = {str(root / file) for file in ours.result["blank"]}
    figures["tlkit"] = score(planted, found, blank) | {"seconds": ours.seconds}
    if python is not None:
        start = time.perf_counter()
        done = subprocess.run([python, "-c", CLEANVISION, str(root)], capture_output=True, text=True, check=True)
        seconds = round(time.perf_counter() - start, 2)
        said = json.loads(done.stdout.splitlines()[-1])
        theirs = {kind: set(said[name]) for kind, name in THEIRS.items()}
        figures["cleanvision"] = score(planted, theirs) | {"seconds": seconds}
    return {**figures, **machine()}


def copy(source: Path, root: Path) -> dict[str, set[str]]:
    """Copy images as they are, a tenth of them with a fault; return the files of each fault."""
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    random.Random(0).shuffle(files)
    planted: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for number, file in enumerate(files[:IMAGES]):
        target = root / file.parent.name / f"{number}{file.suffix.lower()}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if number % EVERY:
            target.write_bytes(file.read_bytes())
            continue
        kind = KINDS[number // EVERY % len(KINDS)]
        target = target.with_suffix(".png")
        with Image.open(file) as image:
            PLANT[kind](image.convert("RGB")).save(target)
        planted[kind].add(str(target))
    return planted


def score(planted: dict[str, set[str]], found: dict[str, set[str]], blank: Iterable[str] = ()) -> dict[str, object]:
    """Count what was found, by its own name and by any (``blank`` too), and what was named for nothing."""
    dirty, named = set().union(*planted.values()), set(blank).union(*found.values())
    return {
        "found": {kind: len(files & found[kind]) for kind, files in planted.items()},
        "found_by_any_name": len(dirty & named),
        "alarms": {kind: len(files - dirty) for kind, files in found.items()},
    }


if __name__ == "__main__":
    main()
