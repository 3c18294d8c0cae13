"""What the benchmarks of ``tlkit serve`` share: a server as a process, photos of about 60 KB, and its figures."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
COMMAND = Path(sysconfig.get_path("scripts")) / "tlkit"
SAMPLES = ROOT / "sample_data" / "garden"
WANTED = 60_000  # bytes of a photo


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.port = int(url.rpartition(":")[2])

    def metrics(self) -> dict[str, float]:
        """All metrics by name."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = [line for line in answer.read().decode().splitlines() if line and line[0] != "#"]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def codes(self) -> dict[str, float]:
        """Requests so far by status code, those for metrics left out."""
        found: dict[str, float] = {}
        for name, value in self.metrics().items():
            if (said := re.match(r'tlkit_requests_total\{code="(\d+)",endpoint="(.*)"', name)) and said[
                2
            ] != "/metrics":
                found[said[1]] = found.get(said[1], 0) + value
        return found

    def mib(self) -> float:
        """Resident memory."""
        return self.metrics()["process_resident_memory_bytes"] / (1 << 20)

    def descriptors(self) -> int:
        """Open files and connections."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def threads(self) -> int:
        """Threads."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/task").iterdir())


@contextmanager
def serving(bundle: Path, *options: str) -> Iterator[Server]:
    """Start a server whose log goes nowhere, and end it as an operator would."""
    process = subprocess.Popen(
        [str(COMMAND), "serve", str(bundle), "--port", "0", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit("the server did not start")
        yield Server(process, json.loads(line)["url"])
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        if code:
            sys.exit(f"the server ended with {code}")
    finally:
        process.kill()
        process.wait()


def photos(folder: Path, count: int) -> list[Path]:
    """Write ``count`` different JPEG files of 640 x 480 pixels and about 60 KB, made from the sample."""
    sources = sorted(SAMPLES.rglob("*.png")) + sorted(SAMPLES.rglob("*.jpg"))
    found = []
    for number in range(count):
        with Image.open(sources[number % len(sources)]) as opened:
            image = opened.convert("RGB").resize((640, 480), Image.Resampling.BICUBIC)
        noise = Image.effect_noise((640, 480), 24 + number // len(sources)).convert("RGB")
        image = Image.blend(image, noise, 0.25)
        low, high = 5, 95
        while high - low > 1:  # the quality that comes closest
            middle = (low + high) // 2
            low, high = (middle, high) if len(jpeg(image, middle)) < WANTED else (low, middle)
        path = folder / f"{number:04}.jpg"
        path.write_bytes(jpeg(image, low))
        found.append(path)
    return found


def jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
