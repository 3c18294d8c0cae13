"""What lies hidden beside a bundle while it is written: a lock, and folders that a killed run leaves behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tlkit.durable import exchange, rename_new, sync_folder, sync_tree
from tlkit.errors import TlkitError
from tlkit.locks import HeldError, is_locked, locked

LOCK = "lock"
NEW, OLD, RUN = "new", "old", "run"  # a bundle being written, one being replaced, the folder of a run made or removed
KEPT = "bundle"  # the old bundle in a folder of kind `OLD`
_HIDDEN = re.compile(rf"\.(?P<name>.+)-(?P<kind>{NEW}|{OLD}|{RUN})-[a-z0-9_]{{8}}")


def lock_file(target: Path) -> Path:
    """The lock of everything that writes a bundle of this name: held from the start of a run to its end."""
    return target.with_name(f".{target.name}-{LOCK}")


def is_being_written(target: Path) -> bool:
    """Whether a run that is alive writes a bundle of this name."""
    return is_locked(lock_file(target))


def hidden_folder(target: Path, kind: str) -> Path:
    """Make a hidden folder beside a bundle.

    Raises:
        OSError: It cannot be made.
    """
    return Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-{kind}-"))


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Provide a folder to fill, which becomes the target when all of it is on the disk, and is removed otherwise.

    Raises:
        TlkitError: It cannot be written, the target exists by now, or another process is writing it; also for what is
            raised as an OSError while it is filled.
    """
    sweep_folder(target.parent)
    try:
        with locked(lock_file(target)):
            sweep(target)
            hidden = hidden_folder(target, NEW)
            try:
                part = hidden / target.name
                part.mkdir()  # in contrast to the hidden one, others may read it
                yield part
                sync_tree(part)
                rename_new(part, target)
                sync_folder(target.parent)
            finally:
                shutil.rmtree(hidden, ignore_errors=True)
    except HeldError as error:
        raise TlkitError(f"{target} is being written by {error.holder or 'another process'}") from error
    except OSError as error:
        raise TlkitError(f"cannot write {target}: {error.strerror or error}") from error


def put_in_place(part: Path, target: Path, replace: bool) -> Path:
    """Give a complete folder its final name, in one step where the system can do that.

    A kill or a power cut leaves the old bundle or the new one, or the old one where `restore` finds it.

    Args:
        part: The folder, whose contents are on the disk.
        target: Its final name.
        replace: Whether to replace what is there.

    Returns:
        Its name: the target, or the next free name if something lies there that is not to be replaced.

    Raises:
        OSError: It cannot be renamed; what was there is there still.
    """
    if replace and exchange(part, target):
        sync_folder(target.parent)
        return target
    if not replace:
        target = _renamed(part, target)
        sync_folder(target.parent)
        return target
    old = hidden_folder(target, OLD)
    try:
        target.rename(old / KEPT)
        try:
            rename_new(part, target)
            sync_folder(target.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                rename_new(old / KEPT, target)
            raise
    finally:
        if os.path.lexists(target):
            shutil.rmtree(old, ignore_errors=True)
    return target


def _renamed(part: Path, target: Path) -> Path:
    """Rename to the target or, if it is taken, to the first free name with -2, -3 and so on."""
    place, number = target, 1
    while True:
        if place == target or not is_being_written(place):
            try:
                rename_new(part, place)
            except FileExistsError:
                pass
            else:
                return place
        number += 1
        place = target.with_name(f"{target.stem}-{number}{target.suffix}")


def sweep(target: Path) -> None:
    """Remove what killed runs left beside a bundle, and put back a bundle that one was replacing.

    The caller holds the lock of the target.
    """
    for path, kind in _left(target.parent, target.name):
        if kind == OLD and os.path.lexists(path / KEPT) and not os.path.lexists(target):
            with contextlib.suppress(OSError):
                rename_new(path / KEPT, target)
        if kind != OLD or os.path.lexists(target):
            shutil.rmtree(path, ignore_errors=True)


def sweep_folder(folder: Path) -> None:
    """Do so for every bundle that a run in a folder was killed while writing."""
    with contextlib.suppress(OSError):
        for file in sorted(folder.glob(f".*-{LOCK}")):
            target = folder / file.name.removeprefix(".").removesuffix(f"-{LOCK}")
            with contextlib.suppress(OSError, HeldError), locked(file):
                sweep(target)


def restore(folder: Path, name: str | None = None) -> None:
    """Put back bundles that killed runs were replacing.

    Args:
        folder: Where to look.
        name: The bundle's name; None: all.
    """
    for path, kind in _left(folder, name):
        target = folder / path.name[1 : -len(f"-{OLD}-") - 8]
        if kind == OLD and (path / KEPT).is_dir() and not os.path.lexists(target):
            with contextlib.suppress(OSError, HeldError), locked(lock_file(target)):
                sweep(target)


def _left(folder: Path, name: str | None) -> list[tuple[Path, str]]:
    """The hidden folders of a bundle, or of all, and their kinds."""
    try:
        found = [(each, match) for each in folder.iterdir() if (match := _HIDDEN.fullmatch(each.name))]
    except OSError:
        return []
    return [
        (each, match["kind"])
        for each, match in found
        if (name is None or match["name"] == name) and each.is_dir() and not each.is_symlink()
    ]
