"""How much memory a process may still take, so that work that needs more is done in another way."""

from __future__ import annotations

import os
from pathlib import Path

from tlkit.errors import TlkitError

LIMIT = "TLKIT_MEMORY"  # the variable that says how much memory large arrays may take together
SHARE = 0.8  # of the free memory; the rest is for other programs and for what cannot be counted beforehand
UNKNOWN = 4 << 30  # where the system does not tell
GROUPS = Path("/sys/fs/cgroup")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def usable_memory() -> int:
    """Return the bytes that large arrays may take: `SHARE` of what is free, or what ``TLKIT_MEMORY`` says.

    Free is what the system has, what the container may still take, and what the process may (``ulimit -v``), whichever
    is least.

    Raises:
        TlkitError: ``TLKIT_MEMORY`` is no size.
    """
    if text := os.environ.get(LIMIT):
        return _size(text)
    return int(SHARE * min([_system(), *_container(GROUPS), *_process()]))


def in_words(count: float) -> str:
    """Return a number of bytes as people read it: "1.4 GB", "300 MB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def _size(text: str) -> int:
    number = text.strip().upper().removesuffix("B")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    try:
        size = int(float(number.removesuffix(unit)) * _UNITS[unit])
        if size < 1:
            raise ValueError
    except (ValueError, OverflowError):
        raise TlkitError(f"{LIMIT} must be a size such as 2GB, not '{text[:40]}'") from None
    return size


def _system() -> int:
    """Free memory of the machine; half of all where the system tells only that."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):  # Windows
        return UNKNOWN


def _container(root: Path) -> list[int]:
    """What the control group may still take, versions 2 and 1; nothing if it has no limit."""
    for limit, used, kept in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, now = (int((root / name).read_text(encoding="ascii")) for name in (limit, used))
            text = (root / limit).with_name("memory.stat").read_text(encoding="ascii")
        except (OSError, ValueError):  # "max": no limit
            continue
        # pages of files that the system gives up as soon as memory is wanted
        spare = next((int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{kept} ")), 0)
        return [max(0, most - now + spare)]
    return []


def _process() -> list[int]:
    """What the process may still take of its address space; nothing if it has no limit."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError, ValueError, IndexError):
        return []
    return [] if limit == resource.RLIM_INFINITY else [max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))]
