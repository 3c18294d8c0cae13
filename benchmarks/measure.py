"""What the benchmark scripts share: run a command as a user does and say what it cost."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

TLKIT = Path(sysconfig.get_path("scripts")) / "tlkit"


@dataclass(frozen=True)
class Run:
    """Seconds, peak resident memory in MiB and the JSON a command printed."""

    seconds: float
    peak_mib: float
    result: Any


def run_tlkit(*arguments: object, cwd: Path, env: dict[str, str]) -> Run:
    """Run the installed command once; memory is that of the process and its children together."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(TLKIT), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    memory = TreeMemory(process.pid)
    memory.start()
    out = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        raise SystemExit(f"tlkit {' '.join(map(str, arguments))} ended with {process.returncode}")
    peak = max(memory.peak, usage.ru_maxrss / 1024)
    return Run(round(seconds, 2), round(peak), json.loads(out))


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


def machine() -> dict[str, Any]:
    """Which machine and when: every figure says so."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB",
        "python": platform.python_version(),
    }
