"""Whether a folder is on a network drive, where another machine may remove a file that this one has open."""

from __future__ import annotations

import os
from pathlib import Path

MOUNTS = "/proc/self/mountinfo"  # Linux; elsewhere, every folder counts as local
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs", "virtiofs"}
)


def is_network(folder: Path) -> bool:
    """Return whether a folder, which need not exist yet, is on a network drive, or on one that a program provides."""
    try:
        place = os.path.realpath(folder)
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
            mounts = [_mount(line) for line in file]
    except (OSError, ValueError, IndexError):
        return False
    # the last of several at one place is the one that is seen
    above = [(point, kind) for point, kind in mounts if place == point or place.startswith(point.rstrip("/") + "/")]
    kind = max(reversed(above), key=lambda each: len(each[0]), default=("", ""))[1]
    return kind in NETWORK or kind.startswith("fuse.")


def _mount(line: str) -> tuple[str, str]:
    """Return the place and the kind of a mount, from a line of `MOUNTS`."""
    before, _, after = line.partition(" - ")
    place = before.split(" ")[4]
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        place = place.replace(code, sign)
    return place, after.split(" ")[0]
