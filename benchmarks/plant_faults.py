"""Plant 30 known faults in a copy of a data set and score what ``tlkit check`` finds, one JSON line.

    python benchmarks/plant_faults.py FOLDER --seeds 3

FOLDER has one sub-folder per class. The copy is split into train/ and val/; five exact copies in another class, five
resized or re-encoded copies across the split, five truncated files, five wrong labels, five blank images and five
wrong extensions are planted. Figures are means over the seeds, and the least of them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine, run_tlkit
from PIL import Image

EACH = 5
TOP = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [run_once(arguments.images.resolve(), Path(folder), seed) for seed in range(arguments.seeds)]
    figures = {key: [run[key] for run in runs] for key in runs[0]}
    summary = {key: {"mean": round(float(np.mean(values)), 4), "runs": values} for key, values in figures.items()}
    print(json.dumps({"benchmark": "plant_faults", "images": arguments.images.name, **summary, **machine()}))


def run_once(source: Path, place: Path, seed: int) -> dict[str, float]:
    """Plant, check, score: how many of five of each kind were found, and the share of clean images named."""
    root = place / f"seed{seed}"
    copy_split(source, root, seed)
    planted = plant(root, seed)
    ran = run_tlkit("check", root, "--json", cwd=place, env={"TLKIT_CACHE": str(place / "cache")})
    shutil.rmtree(root)
    return score(ran.result, planted)


def copy_split(source: Path, root: Path, seed: int) -> None:
    """Copy into train/ and val/, every fifth image of a shuffled class into val/."""
    rng = np.random.default_rng([seed, 0])
    for label in sorted(path for path in source.iterdir() if path.is_dir()):
        files = sorted(path for path in label.rglob("*") if path.is_file())
        for number, index in enumerate(rng.permutation(len(files))):
            split = "val" if number % 5 == 0 else "train"
            target = root / split / label.name / files[index].name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(files[index], target)


def plant(root: Path, seed: int) -> dict[str, list[tuple[str, ...]]]:
    """Plant the faults; gives the files of each, relative to ``root``: what is new or changed first."""
    rng = np.random.default_rng([seed, 1])
    files = sorted(path for path in (root / "train").rglob("*") if path.is_file())
    draw = (files[index] for index in rng.permutation(len(files)))
    classes = sorted(path.name for path in (root / "train").iterdir())

    def other(path: Path) -> str:
        return str(rng.choice([name for name in classes if name != path.parent.name]))

    def named(*paths: Path) -> tuple[str, ...]:
        return tuple(path.relative_to(root).as_posix() for path in paths)

    planted: dict[str, list[tuple[str, ...]]] = {
        "exact": [],
        "near": [],
        "truncated": [],
        "label": [],
        "blank": [],
        "extension": [],
    }
    for number in range(EACH):
        one = next(draw)
        copy = one.parent.parent / other(one) / f"copy{number}{one.suffix}"
        planted["exact"].append(named(Path(shutil.copy(one, copy)), one))

        one = next(draw)
        copy = root / "val" / one.parent.name / f"near{number}.jpg"
        near_copy(one, copy, rng)
        planted["near"].append(named(copy, one))

        one = next(draw)
        data = one.read_bytes()
        one.write_bytes(data[: int(len(data) * rng.uniform(0.2, 0.9))])
        planted["truncated"].append(named(one))

        one = next(draw)
        planted["label"].append(named(one.rename(one.parent.parent / other(one) / one.name)))

        blank = root / "train" / str(rng.choice(classes)) / f"blank{number}.jpg"
        Image.new("RGB", (128, 96), tuple(int(each) for each in rng.integers(0, 256, 3))).save(blank)
        planted["blank"].append(named(blank))

        one = next(draw)
        with Image.open(one) as image:
            image.convert("RGB").save(one, "PNG")
        planted["extension"].append(named(one))
    return planted


def near_copy(source: Path, target: Path, rng: np.random.Generator) -> None:
    """A copy at another size and JPEG quality."""
    scale = float(rng.choice([0.5, 0.75, 1.0, 1.5]))
    with Image.open(source) as image:
        size = tuple(max(1, round(side * scale)) for side in image.size)
        image.convert("RGB").resize(size).save(target, "JPEG", quality=int(rng.integers(40, 90)))


def score(result: dict[str, Any], planted: dict[str, list[tuple[str, ...]]]) -> dict[str, float]:
    leaks, conflicts = [set(group) for group in result["leaks"]], [set(group) for group in result["conflicts"]]
    unreadable = {row["file"] for row in result["unreadable"]}
    renamed = {row["file"] for row in result["wrong_extension"]}
    first = {row["file"] for row in result["suspects"][:TOP]}
    dirty = {file for faults in planted.values() for group in faults for file in group}
    return {
        "exact": sum(any(set(pair) <= group for group in conflicts) for pair in planted["exact"]),
        "near": sum(any(set(pair) <= group for group in leaks) for pair in planted["near"]),
        "truncated": sum(file in unreadable for (file,) in planted["truncated"]),
        "label_in_top_15": sum(file in first for (file,) in planted["label"]),
        "blank": sum(file in result["blank"] for (file,) in planted["blank"]),
        "extension": sum(file in renamed for (file,) in planted["extension"]),
        "clean_named": round(len(set(all_named(result)) - dirty) / result["images"], 4),
    }


def all_named(result: dict[str, Any]) -> Iterator[str]:
    """Every file that some finding names."""
    for key in ("duplicates", "near_duplicates", "conflicts", "leaks"):
        for group in result[key]:
            yield from group
    for key in ("blank", "tiny", "huge", "extreme"):
        yield from result[key]
    for key in ("unreadable", "wrong_extension", "suspects"):
        yield from (row["file"] for row in result[key])


if __name__ == "__main__":
    main()
