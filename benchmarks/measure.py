"""What the benchmark scripts share: run a command as a user does and say what it cost."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, Any

TLKIT = Path(sysconfig.get_path("scripts")) / "tlkit"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
SIDE = 224  # of the embedded network's input, in pixels
JPEG = (".jpg", ".jpeg")

PLAIN = (
    *("--strategy", "freeze", "--backbone", "efficientnet-lite0", "--image-size", str(SIDE)),
    *("--features", "last", "--no-refit"),
)
"""Options of the frozen network that other tools are compared with: the same backbone, size and training images."""

Lines = list[tuple[float, str]]


@dataclass(frozen=True)
class Run:
    """Seconds, peak resident memory in MiB and the JSON a command printed."""

    seconds: float
    peak_mib: float
    result: Any


@dataclass(frozen=True)
class Watched:
    """Exit code, seconds, peak resident memory in MiB and every line of a command with the second it came."""

    code: int
    seconds: float
    peak_mib: float
    out: Lines
    err: Lines


def run_tlkit(*arguments: object, cwd: Path, env: dict[str, str]) -> Run:
    """Run the installed command once; memory is that of the process and its children together."""
    return run_json([TLKIT, *arguments], cwd=cwd, env=env)


def run_json(command: Sequence[object], *, cwd: Path, env: dict[str, str]) -> Run:
    """Run a command that prints one JSON document."""
    ran = watch(command, cwd=cwd, env=env)
    require_success(ran, command)
    return Run(round(ran.seconds, 2), round(ran.peak_mib), json.loads("\n".join(line for _, line in ran.out)))


def require_success(ran: Watched, command: Sequence[object]) -> None:
    """End the benchmark if the command failed."""
    if ran.code != 0:
        said = "\n".join(line for _, line in ran.err[-20:])
        raise SystemExit(f"{' '.join(map(str, command))} ended with {ran.code}\n{said}")


def watch(command: Sequence[object], *, cwd: Path, env: dict[str, str], until: str | None = None) -> Watched:
    """Run a command and note when it wrote what; ``until``: it is ended once a line on stderr starts so."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(each) for each in command],
        cwd=cwd,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="backslashreplace",
    )
    memory = TreeMemory(process.pid)
    memory.start()
    out: Lines = []
    err: Lines = []

    def listen(stream: IO[str] | None, lines: Lines) -> None:
        assert stream is not None
        with stream:
            for line in stream:
                lines.append((time.perf_counter() - start, line.rstrip("\n")))
                if until is not None and lines is err and line.startswith(until):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGTERM)

    listeners = [
        threading.Thread(target=listen, args=pair, daemon=True)
        for pair in ((process.stdout, out), (process.stderr, err))
    ]
    for listener in listeners:
        listener.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    for listener in listeners:
        listener.join()
    return Watched(process.returncode, seconds, max(memory.peak, usage.ru_maxrss / 1024), out, err)


class TreeMemory(threading.Thread):
    """Peak of the resident memory of a process and all its descendants together, in MiB, sampled (Linux)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.peak = 0.0

    def run(self) -> None:
        """Sample until the process is gone."""
        while total := sum(_resident_mib(pid) for pid in _tree(self.pid)):
            self.peak = max(self.peak, total)
            time.sleep(0.05)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))


def _resident_mib(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def fresh_cache(place: Path) -> dict[str, str]:
    """The environment that gives tlkit a cache folder of its own, empty."""
    return {"TLKIT_CACHE": tempfile.mkdtemp(dir=place, prefix="cache-")}


def images_below(source: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """Image files of a folder in an order that mixes the classes, the same each time."""
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in suffixes and path.name[0] != ".")
    random.Random(0).shuffle(files)
    return files


def fill(root: Path, source: Path, count: int, suffixes: Sequence[str] = SUFFIXES) -> None:
    """``count`` images in the folders of ``source``, taken as often as needed, each under different bytes."""
    files = images_below(source, suffixes)
    for number in range(count):
        file = files[number % len(files)]
        data = varied(file.read_bytes(), number)
        suffix = ".jpg" if data.startswith(b"\xff\xd8") else file.suffix.lower()
        target = root / file.relative_to(source).parent / f"{number}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def varied(data: bytes, number: int) -> bytes:
    """The same image in other bytes: a JPEG comment, in other formats a note after the end."""
    note = str(number).encode()
    if data.startswith(b"\xff\xd8"):
        # a comment segment right after the start marker
        return data[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + data[2:]
    return data + note


def lite_network(batch: int, threads: int) -> Callable[[Any], Any]:
    """The embedded network through LiteRT, warmed up: uint8 [batch, 224, 224, 3] to float32 [batch, columns]."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from tlkit.backbones.litert.efficientnet_lite import packaged_graph

    interpreter = Interpreter(model_content=packaged_graph("lite0", SIDE)[0], num_threads=threads)
    entry, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(entry, [batch, SIDE, SIDE, 3])
    interpreter.allocate_tensors()

    def run(pixels: Any) -> Any:
        interpreter.set_tensor(entry, pixels.astype(np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(result)

    for _ in range(2):
        run(np.zeros((batch, SIDE, SIDE, 3), np.uint8))
    return run


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def machine() -> dict[str, Any]:
    """Which machine and when: every figure says so."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {cores()} cores, {memory:.0f} GiB",
        "python": platform.python_version(),
    }
