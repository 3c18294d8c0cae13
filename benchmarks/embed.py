"""``tlkit embed`` on many images: its time against the floor, its memory as they grow, kills: one JSON line.

    python benchmarks/embed.py FOLDER --count 10000

Images are those of FOLDER, cut to 256x256 at random and changed a little in brightness, as JPEG; no two are the
same. Floor (floor.py) and embed, with an empty cache, are run in turn; allowed is 1.15 times the floor, in which
starting is not contained. The second run finds its features. Memory is the peak of runs on a tenth, half and all of
the images, for each format, with features computed (.npz) or found. Then a run is killed at random moments and
resumed until its file is there, which must be the undisturbed run's byte by byte. Ends with exit code 1 unless it is
and memory is flat.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import floor
from measure import TLKIT, Run, cores, fresh_cache, images_below, machine, run_tlkit

EDGE = 256  # pixels
FLAT = 32.0  # MiB by which the peak may grow: paths, hashes, and the index of the store
FORMATS = (".npz", ".parquet", ".csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    count = arguments.count
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        images = place / "images"
        make_images(images, arguments.images.resolve(), count)
        rounds, firsts, cache = [], [], {}
        for pair in range(arguments.pairs):
            rounds.append(floor.measure_once(images))
            cache = fresh_cache(place)
            firsts.append(embed([images], place / f"first{pair}.npz", cache))
        second = embed([images], place / "second.npz", cache)
        found = {form: peaks(images, count, form, cache, place) for form in FORMATS}
        computed = peaks(images, count, ".npz", None, place)
        kills = killed(images, place, firsts, arguments.kills, random.Random(arguments.seed))
        same = {file.read_bytes() == (place / "first0.npz").read_bytes() for file in place.glob("*d.npz")}
    least = floor.summary(rounds, count)
    seconds = statistics.median(each.seconds for each in firsts)
    growth = {f"found{form}": each[-1] - each[0] for form, each in found.items()}
    growth["computed.npz"] = computed[-1] - computed[0]
    figures = {
        "benchmark": "embed",
        "images": arguments.images.resolve().name,
        "count": firsts[0].result["images"],
        "seconds": seconds,
        "floor": least,
        "to_floor": round(seconds / least["floor_seconds"], 3),
        "allowed_to_measured": round(1.15 * least["floor_seconds"] / seconds, 3),
        "second_seconds": second.seconds,
        "second_reused": second.result["reused"],
        "images_of_peaks": sizes(count),
        "peak_mib": {"computed.npz": computed, **{f"found{form}": each for form, each in found.items()}},
        "growth_mib": growth,
        "memory_flat": max(growth.values()) <= FLAT,
        "kills": kills,
        "same_files": same == {True},
        **machine(),
    }
    print(json.dumps(figures))
    sys.exit(0 if figures["memory_flat"] and figures["same_files"] else 1)


def make_images(root: Path, source: Path, count: int) -> None:
    """``count`` different JPEG images of `EDGE` pixels, a thousand a folder, in as many processes as cores."""
    from concurrent.futures import ProcessPoolExecutor

    files = images_below(source)
    for number in range(0, count, 1000):
        (root / f"{number // 1000:03}").mkdir(parents=True)
    jobs = [(files[i % len(files)], root / f"{i // 1000:03}" / f"{i:06}.jpg", i) for i in range(count)]
    with ProcessPoolExecutor(cores()) as pool:
        list(pool.map(make_image, *zip(*jobs, strict=True), chunksize=64))


def make_image(source: Path, target: Path, seed: int) -> None:
    """One image cut at a random place and a little brighter or darker."""
    from PIL import Image, ImageEnhance, ImageOps

    rng = random.Random(seed)
    with Image.open(source) as image:
        colour = image.convert("RGB")
    centre = (rng.random(), rng.random())
    cut = ImageOps.fit(colour, (EDGE, EDGE), bleed=0.1 * rng.random(), centering=centre)
    ImageEnhance.Brightness(cut).enhance(rng.uniform(0.8, 1.2)).save(target, quality=90)


def embed(images: Sequence[Path], output: Path, cache: dict[str, str]) -> Run:
    """One run to its end."""
    return run_tlkit("embed", *images, "--output", output, "--json", cwd=output.parent, env=cache)


def sizes(count: int) -> list[int]:
    """A tenth, half and all of the images."""
    return [count // 10, count // 2, count]


def peaks(images: Path, count: int, form: str, cache: dict[str, str] | None, place: Path) -> list[float]:
    """Peak memory in MiB on some, more and all of the images; without a cache each computes its features."""
    found = []
    files = sorted(images.rglob("*.jpg"))
    for size in sizes(count):
        some = place / f"some{size}"
        if not some.exists():
            some.mkdir()
            for file in files[:size]:
                (some / file.name).hardlink_to(file)
        output = place / f"peak{size}{form}"
        found.append(embed([some], output, cache or fresh_cache(place)).peak_mib)
        output.unlink()
    return found


def killed(images: Path, place: Path, whole: Sequence[Run], kills: int, rng: random.Random) -> dict[str, Any]:
    """Runs that get SIGKILL at random moments, each of which is resumed by the next one, the last to its end."""
    output, cache = place / "killed.npz", fresh_cache(place)
    command = [str(each) for each in (TLKIT, "embed", images, "--output", output, "--json")]
    took = statistics.median(each.seconds for each in whole)
    done = 0
    while done < kills and not output.exists():
        process = subprocess.Popen(
            command, env={**os.environ, **cache}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(rng.uniform(0, 2 * took / kills))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
    if output.exists():
        return {"kills": done, "reused_at_last": None}
    last = embed([images], output, cache)
    return {"kills": done, "reused_at_last": last.result["reused"], "last_seconds": last.seconds}


if __name__ == "__main__":
    main()
