"""What in the cache folder is tlkit's: its markers, and the only code that removes anything there.

Each folder that tlkit creates gets a marker file with the folder's name before anything else. Folders without a marker,
copies under another name, files that tlkit does not write, and targets of links belong to the user.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

NOTE = "key.json"  # in each entry: what it depends on, for people to read
GRAPH = "network.tflite"  # in each entry of "networks": the network
MARKER = ".tlkit-cache"  # in every folder that tlkit creates
_WRITTEN = re.compile(r"[0-9a-f]{32}\.(npy|part)")
_UNFINISHED = re.compile(r"[0-9a-f]{32}\.part")
_MADE_BY = b"made by tlkit, which removes it when the cache is full or cleared: "


def make_entry(entry: Path, folder: Path | None = None) -> None:
    """Create the folder of an entry, and its section, each with tlkit's marker before anything else.

    An existing folder is marked too: the name of an entry is a digest of what it depends on, so only an earlier version
    of tlkit, or a run that was killed, can have created it.

    Args:
        entry: Its final path, directly below a section.
        folder: A temporary path next to it, used until the entry is complete; None: create it at its final path.

    Raises:
        OSError: The folder cannot be written.
    """
    section = entry.parent
    section.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        section.mkdir()
        mark(section, section.name)
    (folder or entry).mkdir(exist_ok=True)
    mark(folder or entry, entry.name)


def unfinished(entry: Path) -> Path:
    """Return a new temporary path next to an entry, for an entry that is being written or removed."""
    return entry.with_name(f"{uuid.uuid4().hex}.part")


def may_remove(entry: Path) -> bool:
    """Return whether tlkit created the folder of an entry, and it is not reached through a link."""
    return not os.path.islink(entry.parent) and is_marked(entry)  # noqa: PTH114  (unlike Path.is_symlink, never raises)


def is_shard(name: str) -> bool:
    """Return whether a file of this name in an entry is one of its shards."""
    return bool(_WRITTEN.fullmatch(name)) and name.endswith(".npy")


def mark(folder: Path, name: str) -> None:
    """Write tlkit's marker into a folder, unless the folder has one.

    Raises:
        OSError: The marker cannot be written.
    """
    marker = folder / MARKER
    try:
        with marker.open("xb") as file:
            file.write(_MADE_BY + os.fsencode(name) + b"\n")
    except FileExistsError:
        return
    except OSError:
        with contextlib.suppress(OSError):
            marker.unlink()
        raise


def is_marked(folder: Path) -> bool:
    """Return whether tlkit created a folder: it holds a marker with its name, or a marker while it is unfinished."""
    marker = folder / MARKER
    try:
        if folder.is_symlink() or not stat.S_ISREG(marker.lstat().st_mode):
            return False
        text = marker.read_bytes()
    except OSError:
        return False
    name = text.removeprefix(_MADE_BY)
    return len(name) < len(text) and (name == os.fsencode(folder.name) + b"\n" or is_unfinished(folder))


def is_unfinished(folder: Path) -> bool:
    """Return whether a folder has the temporary name of an entry that is being written or removed."""
    return bool(_UNFINISHED.fullmatch(folder.name))


def is_entry(folder: Path) -> bool:
    """Return whether a folder in a section is an entry: created by tlkit, and complete."""
    return not is_unfinished(folder) and is_marked(folder)


def is_ours(file: os.DirEntry[str]) -> bool:
    """Return whether a file in an entry has a name that tlkit gives; links never do."""
    with contextlib.suppress(OSError):
        return file.is_file(follow_symlinks=False) and (file.name == NOTE or bool(_WRITTEN.fullmatch(file.name)))
    return False


def listing(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in a folder; nothing if it cannot be read or is gone."""
    with contextlib.suppress(OSError), os.scandir(folder) as files:
        yield from files


def remove_empty(folder: Path) -> bool:
    """Remove a marked folder if it is otherwise empty; return whether it is gone."""
    if any(file.name != MARKER for file in listing(folder)):
        return False
    try:
        (folder / MARKER).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:  # another process has just written something into it
        with contextlib.suppress(OSError):
            mark(folder, folder.name)
        return False
    return True


def remove(path: Path) -> bool:
    """Remove a file, or what tlkit wrote in a folder, and the folder if it is then empty; return whether it is gone."""
    try:
        if not path.is_dir() or path.is_symlink():
            path.unlink()
            return True
        if all(file.name in (GRAPH, NOTE, MARKER) for file in listing(path)):
            # rename first, so that other processes find either all of it or nothing
            path = path.rename(unfinished(path))
        for name in (GRAPH, NOTE):
            (path / name).unlink(missing_ok=True)
        if not remove_empty(path):  # it holds files of the user, so the folder is theirs now
            (path / MARKER).unlink(missing_ok=True)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # in use, as on Windows
    return True
