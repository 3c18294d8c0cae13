"""Ray over the shards of predict: the same file as one plain run, start-up, throughput, and a worker that is killed.

    python ray_predict.py FOLDER --model BUNDLE [--images 10000] [--workers 2] [--kill]

Plain Ray tasks, one for each shard: `tlkit.predict_file` writes a part, and `tlkit.merge` puts the parts together. A
task whose worker is lost runs again and goes on with the rows that are there. The script has a folder of its own,
because Ray puts that before the libraries.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import signal
import tempfile
import time
from datetime import date
from pathlib import Path

SHARDS_EACH = 4  # of a worker: an uneven worker or a lost one costs a quarter of its work at most


def linked(folder: Path, count: int, root: Path) -> Path:
    """Return a folder with so many links to images."""
    root.mkdir()
    for number, image in enumerate(itertools.islice(itertools.cycle(sorted(folder.rglob("*.jpg"))), count)):
        (root / f"{number:06}{image.suffix}").symlink_to(image.resolve())
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", action="store_true", help="kill one worker in the middle")
    args = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    import tlkit

    model = str(args.model.resolve())
    with tempfile.TemporaryDirectory() as place:
        root = linked(args.folder, args.images, Path(place) / "images")
        images, plain, output = str(root), Path(place) / "plain.csv", str(Path(place) / "ray.csv")
        start = time.perf_counter()
        tlkit.predict_file(images, plain, model, workers=args.workers)
        alone = time.perf_counter() - start

        start = time.perf_counter()
        ray.init(num_cpus=args.workers, include_dashboard=False, log_to_driver=False, logging_level="error")

        @ray.remote(num_cpus=1, max_retries=-1)
        def warm() -> int:
            import tlkit

            tlkit.load(model)
            time.sleep(1)
            return os.getpid()

        @ray.remote(num_cpus=1, max_retries=-1)
        def share(number: int, of: int) -> str:
            import tlkit

            shard = f"{number}/{of}"
            return str(tlkit.predict_file(images, output, model, shard=shard, resume=True, workers=1).output)

        pids = ray.get([warm.remote() for _ in range(args.workers)])
        started = time.perf_counter() - start
        start, of = time.perf_counter(), SHARDS_EACH * args.workers
        parts = [share.remote(number, of) for number in range(1, of + 1)]
        if args.kill:
            ray.wait(parts, num_returns=1)
            os.kill(pids[0], signal.SIGKILL)
        tlkit.merge(ray.get(parts), output)
        steady = time.perf_counter() - start
        print(
            json.dumps(
                {
                    "images": args.images,
                    "workers": args.workers,
                    "killed": args.kill,
                    "plain_seconds": round(alone, 1),
                    "start_seconds": round(started, 1),
                    "ray_seconds": round(steady, 1),
                    "relative_throughput": round(alone / steady, 2),
                    "identical": plain.read_bytes() == Path(output).read_bytes(),
                    "date": date.today().isoformat(),
                    "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                }
            )
        )
        ray.shutdown()


if __name__ == "__main__":
    main()
