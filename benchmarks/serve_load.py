"""``tlkit serve`` under load, by wrk: images a second against ``tlkit predict``, latency, memory.

    python benchmarks/serve_load.py BUNDLE              all of it, about six minutes
    python benchmarks/serve_load.py BUNDLE --seconds 5  in short

Requires wrk (``apt-get install wrk``). It runs on the same cores as the server, so its time counts against it. The
exit code is 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from serving import COMMAND, Server, photos, serving

PHOTOS = 64
FEW, MANY = PHOTOS, 8 * PHOTOS  # images of the two runs of predict, whose difference is without its start
SCRIPT = """
local files = {%s}
local bodies, n = {}, 0
for i, name in ipairs(files) do local f = io.open(name, "rb"); bodies[i] = f:read("*a"); f:close() end
request = function()
  n = n %% #bodies + 1
  return wrk.format("POST", "/predict", {["Content-Type"] = "image/jpeg"}, bodies[n])
end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration, summary.errors.status,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass
class Load:
    """What wrk saw."""

    rate: float  # requests a second, refused ones included
    refused: int
    median: float  # milliseconds
    p99: float


def load(server: Server, script: Path, clients: int, seconds: int) -> Load:
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", str(script), server.url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", said)
    assert found, said
    requests, micros, refused, median, p99 = map(int, found.groups())
    return Load(requests / (micros / 1e6), refused, median / 1000, p99 / 1000)


def predict_rate(bundle: Path, folder: Path) -> float:
    """Images a second of the command, its start left out."""
    files = sorted(map(str, folder.glob("*.jpg")))
    copies = folder / "copies"
    if not copies.exists():
        copies.mkdir()
        for number in range(MANY):
            shutil.copy(files[number % len(files)], copies / f"{number}.jpg")
    began = [time.perf_counter()]
    for images in (files[:FEW], [str(copies)]):
        subprocess.run(
            [str(COMMAND), "predict", *images, "-m", str(bundle), "--json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        began.append(time.perf_counter())
    return (MANY - FEW) / ((began[2] - began[1]) - (began[1] - began[0]))


def start_seconds(bundle: Path, photo: Path) -> float:
    """From the command to the answer for a first image."""
    began = time.perf_counter()
    with serving(bundle) as server:
        request = urllib.request.Request(f"{server.url}/predict", photo.read_bytes(), {"Content-Type": "image/jpeg"})
        urllib.request.urlopen(request).read()
        return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=int, default=20, help="of each round; the crowd stays three times as long")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    failed = []

    def say(text: str, holds: bool) -> None:
        print(f"{text}{'' if holds else '   <- broken'}", flush=True)
        failed.extend([] if holds else [text])

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photos(folder, PHOTOS)
        size = statistics.mean(file.stat().st_size for file in files)
        print(f"{len(files)} photos, {size / 1000:.1f} KB on average")
        script = folder / "post.lua"
        script.write_text(SCRIPT % ", ".join(f'"{file}"' for file in files))
        started = statistics.median(start_seconds(given.bundle, files[0]) for _ in range(5))
        say(f"start to first answer: {started:.2f} s (under 2)", started < 2)
        commands, loads = [], []
        with serving(given.bundle) as server:
            load(server, script, 2, 2)
            for _ in range(given.rounds):
                commands.append(predict_rate(given.bundle, folder))
                loads.append(load(server, script, 8, given.seconds))
                print(
                    f"predict {commands[-1]:.1f} images/s; 8 clients {loads[-1].rate:.1f} images/s, "
                    f"median {loads[-1].median:.0f} ms, p99 {loads[-1].p99:.0f} ms",
                    flush=True,
                )
            share = statistics.median(each.rate / rate for each, rate in zip(loads, commands, strict=True))
            say(f"8 clients: {share:.2f} of predict's images a second (at least 0.85)", share >= 0.85)
            worst = statistics.median(each.p99 / each.median for each in loads)
            say(f"8 clients: p99 is {worst:.1f} times the median (under 4)", worst < 4)
            say(f"8 clients: {sum(each.refused for each in loads)} refused (0)", not any(e.refused for e in loads))
        with serving(given.bundle) as server:
            while sum(server.codes().values()) < 500:
                load(server, script, 8, 2)
            early = server.mib()
            crowd = load(server, script, 200, 3 * given.seconds)
            codes = server.codes()
            print(f"200 clients: {crowd.rate:.0f} answers/s, median {crowd.median:.0f} ms, {codes} in all")
            odd = {code for code in codes if code[0] == "5" and code != "503"}
            say(f"200 clients: no 5xx but 503: {sorted(odd) or 'none'}", not odd)
            while sum(server.codes().values()) < 10_000 and given.seconds >= 20:
                load(server, script, 8, 10)
            grown = server.mib() - early
            count = sum(server.codes().values())
            say(
                f"memory: {early:.0f} MiB after 500 requests, {grown:+.1f} MiB after {count:.0f} (30 at most)",
                grown <= 30,
            )
    return bool(failed)


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: apt-get install wrk")
    sys.exit(main())
