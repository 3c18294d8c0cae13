"""Images in an object store against the same images on disk: rows, and images a second.

    python benchmarks/cloud.py FOLDER --model garden.tlkit --images 1000 --latency 0.2 --failing 0.02

Starts a real implementation of S3 (moto's server) on this machine in a process of its own, behind a layer that answers
every request late and some with 503, uploads linked images, and runs ``tlkit predict`` on both. Needs
``pip install "moto[server]" s3fs``. The server works on the same cores: its seconds of CPU are given besides, and the
throughput without them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import resource
import subprocess
import sysconfig
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

COMMAND = str(Path(sysconfig.get_path("scripts")) / "tlkit")
SUFFIXES = (".jpg", ".jpeg", ".png")


def serve(latency: float, failing: float, port: Any, used: Any) -> None:
    """Run the server, until the process is ended; objects whose answers are late and may fail are those of GET."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = DomainDispatcherApplication(create_backend_app)
    draw = random.Random(0)

    def late(environ: Any, start: Any) -> Any:
        if environ["REQUEST_METHOD"] == "GET" and port[1]:
            time.sleep(latency)
            if draw.random() < failing:
                start("503 Slow Down", [("Content-Length", "0")])
                return [b""]
        its = resource.getrusage(resource.RUSAGE_SELF)
        used.value = its.ru_utime + its.ru_stime
        return app(environ, start)

    server = make_server("127.0.0.1", 0, late, threaded=True)
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port[0] = server.server_port
    server.serve_forever()


def upload(folder: Path, address: str) -> None:
    """Copy a folder into a new bucket."""
    import boto3

    client = boto3.client("s3", endpoint_url=address, region_name="us-east-1")
    client.create_bucket(Bucket="photos")
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            client.put_object(Bucket="photos", Key=f"all/{file.relative_to(folder).as_posix()}", Body=file.read_bytes())


def predicted(images: str, model: Path, output: Path, env: dict[str, str]) -> float:
    """Label all images; return the seconds."""
    start = time.perf_counter()
    subprocess.run(
        [COMMAND, "predict", images, "--model", str(model), "--output", str(output)],
        check=True, env=env, capture_output=True,
    )  # fmt: skip
    return time.perf_counter() - start


def rows(file: Path, start: str) -> list[Any]:
    """Return all rows, with names below the folder, in the order of names."""
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return sorted(({**row, "file": row["file"][len(start) :].strip("/")} for row in found), key=lambda row: row["file"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--failing", type=float, default=0.02)
    asked = parser.parse_args()
    files = [file for file in sorted(asked.folder.rglob("*")) if file.suffix.lower() in SUFFIXES]
    os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
    port, used = multiprocessing.Array("i", 2), multiprocessing.Value("d", 0.0)
    server = multiprocessing.Process(target=serve, args=(asked.latency, asked.failing, port, used), daemon=True)
    server.start()
    while not port[0]:
        time.sleep(0.1)
    address = f"http://127.0.0.1:{port[0]}"
    env = {**os.environ, "AWS_ENDPOINT_URL": address}
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        for number in range(asked.images):
            file = files[number % len(files)]
            target = place / "images" / file.parent.name / f"{number}{file.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file.resolve())
        upload(place / "images", address)
        port[1] = 1
        local = predicted(str(place / "images"), asked.model, place / "local.jsonl", env)
        before = used.value
        remote = predicted("s3://photos/all", asked.model, place / "remote.jsonl", env)
        same = rows(place / "local.jsonl", str(place / "images")) == rows(place / "remote.jsonl", "s3://photos/all")
        server_cpu = used.value - before
    server.terminate()
    cores = len(os.sched_getaffinity(0))
    print(
        json.dumps(
            {
                "images": asked.images,
                "latency_s": asked.latency,
                "failing": asked.failing,
                "local_s": round(local, 1),
                "remote_s": round(remote, 1),
                "throughput": round(local / remote, 3),
                "server_cpu_s": round(server_cpu, 1),
                "throughput_without_server": round(local / (remote - server_cpu / cores), 3),
                "same": same,
                "cores": cores,
                "machine": platform.machine(),
                "date": str(date.today()),
            }
        )
    )


if __name__ == "__main__":
    main()
