"""What the benchmark scripts share: run a command as a user does and say what it cost."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sysconfig
import time
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
    """Run the installed command once; memory is that of this one process."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(TLKIT), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    out = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        raise SystemExit(f"tlkit {' '.join(map(str, arguments))} ended with {process.returncode}")
    return Run(round(seconds, 2), round(usage.ru_maxrss / 1024, 0), json.loads(out))


def machine() -> dict[str, Any]:
    """Which machine and when: every figure says so."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB",
        "python": platform.python_version(),
    }


def peak_mib() -> float:
    """Peak resident memory of this process in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0)
