"""``tlkit predict`` on many images against the floor, on one image, and its memory, one JSON line.

    python benchmarks/predict.py FOLDER --count 2500

The bundle is trained on a few images of FOLDER, which are then taken as often as needed, each under different bytes.
Floor (floor.py) and predict are run in turn; allowed are 1.15 times the floor and 1 s. One image is cold: a fresh
process and an empty cache each time. Memory is compared with that of a tenth of the images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import floor
from measure import PLAIN, TLKIT, Watched, fill, fresh_cache, images_below, machine, require_success, run_tlkit, watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=2500)
    parser.add_argument("--trained-on", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--cold", type=int, default=7)
    arguments = parser.parse_args()
    source = arguments.images.resolve()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sizes = {"few": arguments.trained_on, "many": arguments.count, "tenth": arguments.count // 10}
        for name, count in sizes.items():
            fill(place / name, source, count)
        bundle = place / "few.tlkit"
        run_tlkit(
            "train",
            place / "few",
            *PLAIN,
            "--output",
            bundle,
            "--json",
            cwd=place,
            env=fresh_cache(place),
        )
        rounds, whole = [], []
        for _ in range(arguments.pairs):
            rounds.append(floor.measure_once(place / "many"))
            whole.append(predict(place / "many", bundle, place))
        tenth = predict(place / "tenth", bundle, place)
        one = images_below(place / "many")[0]
        cold = [predict(one, bundle, place) for _ in range(arguments.cold)]
    least = floor.summary(rounds, arguments.count)
    allowed = 1.15 * least["floor_seconds"] + 1
    seconds = statistics.median(each.seconds for each in whole)
    peak = max(each.peak_mib for each in whole)
    figures = {
        "benchmark": "predict",
        "images": source.name,
        "count": len(whole[0].out),
        "seconds": round(seconds, 2),
        "images_per_second": round(len(whole[0].out) / seconds, 1),
        "floor": least,
        "allowed_seconds": round(allowed, 2),
        "allowed_to_measured": round(allowed / seconds, 3),
        "peak_mib": round(peak),
        "tenth_images": len(tenth.out),
        "tenth_peak_mib": round(tenth.peak_mib),
        "more_mib": round(peak - tenth.peak_mib),
        "one_seconds": round(statistics.median(each.seconds for each in cold), 3),
        "one_first_line_seconds": round(statistics.median(each.out[0][0] for each in cold), 3),
        "one_peak_mib": round(max(each.peak_mib for each in cold)),
        **machine(),
    }
    print(json.dumps(figures))


def predict(images: Path, bundle: Path, place: Path) -> Watched:
    """Label images with an empty cache; a line an image."""
    command = [TLKIT, "predict", images, "--model", bundle, "--json"]
    ran = watch(command, cwd=place, env=fresh_cache(place))
    require_success(ran, command)
    return ran


if __name__ == "__main__":
    main()
