"""A temporary folder beside a file that is being written: ``NAME-run``."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tlkit.durable import sync_folder
from tlkit.errors import TlkitError

SUFFIX = "-run"
LOCK, PART, SPARE = "tlkit.lock", "part", "spare"


@dataclass(frozen=True)
class WorkFolder:
    """The folder in which a file is written until it is complete.

    Attributes:
        path: The folder.
        target: Where the file goes.
    """

    path: Path
    target: Path

    @property
    def part(self) -> Path:
        """The file until it is complete; its writer may also use names that begin like this."""
        return self.path / PART

    @property
    def spare(self) -> Path:
        """Features that a later run can reuse; stays if a run ends early and there are any."""
        return self.path / SPARE

    def finish(self) -> None:
        """Give the file its final name.

        Raises:
            TlkitError: Something with that name exists by now.
            OSError: It cannot be written.
        """
        with self.part.open("rb+") as file:
            os.fsync(file.fileno())
        try:
            os.link(self.part, self.target)  # unlike a rename, never replaces a file
        except FileExistsError:
            # over NFS, the answer may be lost, and the request is sent again: then it is this file that exists
            if not self.target.is_file() or not self.part.samefile(self.target):
                raise _exists(self.target) from None
        except OSError:  # a file system without links
            if os.path.lexists(self.target):
                raise _exists(self.target) from None
            self.part.rename(self.target)
        sync_folder(self.target.parent)


@contextlib.contextmanager
def work_folder(target: Path) -> Iterator[WorkFolder]:
    """Make the folder, or take it over from a killed run; remove it afterwards, unless it holds features to reuse.

    Raises:
        TlkitError: Another run is writing the same file, the folder is not tlkit's, or it cannot be written.
    """
    folder = WorkFolder(target.with_name(f"{target.name}{SUFFIX}"), target)
    lock = folder.path / LOCK
    try:
        folder.path.mkdir(exist_ok=True)
        if not lock.exists() and any(folder.path.iterdir()):
            raise TlkitError(f"{folder.path} exists and is not the folder of a run", "choose another --output")
        file = lock.open("ab")
    except OSError as error:
        raise TlkitError(f"cannot write to {folder.path}: {error.strerror or error}", "see --output") from error
    with file:
        if not _locked(file.fileno()):
            raise TlkitError(f"another run is writing {target}", "wait for it, or choose another --output")
        _clean(folder)
        done = False
        try:
            if os.path.lexists(target):  # another run was quicker
                raise _exists(target)
            yield folder
            done = True
        finally:
            _clean(folder)
            if done:
                shutil.rmtree(folder.spare, ignore_errors=True)
            if not folder.spare.exists():
                with contextlib.suppress(OSError):
                    lock.unlink()
                    folder.path.rmdir()


def remove_left_over(target: Path) -> None:
    """Remove the folder of a run that was killed after its file was complete."""
    folder = WorkFolder(target.with_name(f"{target.name}{SUFFIX}"), target)
    lock = folder.path / LOCK
    with contextlib.suppress(OSError):
        if not lock.is_file():
            return
        with lock.open("ab") as file:
            if _locked(file.fileno()):
                _clean(folder)
                shutil.rmtree(folder.spare, ignore_errors=True)
                lock.unlink()
                folder.path.rmdir()


def _clean(folder: WorkFolder) -> None:
    """Remove the unfinished file and nothing else."""
    for path in folder.path.glob(f"{PART}*"):
        with contextlib.suppress(OSError):
            path.unlink()


def _locked(descriptor: int) -> bool:
    """Take a lock that ends with the process; True also where locks do not exist, as on some network drives."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _exists(target: Path) -> TlkitError:
    return TlkitError(f"output exists: {target}", "choose another name for --output")
