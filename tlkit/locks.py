"""Locks between processes, which end with their process, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

MAX_NOTE = 1000  # bytes read of what a lock file says
_WINDOWS_BYTE = 1 << 30  # Windows locks a range of bytes: one far behind the text


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        process: Its number.
        host: Name of its machine.
        since: When it took the lock, in ISO 8601.
    """

    process: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, since {self.since}"

    def is_gone(self) -> bool:
        """Whether it is known to have ended: it was a process of this machine and is there no more."""
        if self.host != socket.gethostname():
            return False
        if self.process == os.getpid() or os.name == "nt":  # os.kill would end a process on Windows
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False


class HeldError(Exception):
    """Another process, or another thread of this one, holds the lock.

    Attributes:
        holder: Who holds it; None: its file does not say.
    """

    def __init__(self, file: Path, holder: Holder | None) -> None:
        super().__init__(f"{file} is locked by {holder or 'another process'}")
        self.holder = holder


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock; its file is made if needed and removed afterwards.

    The operating system holds the lock for the process and releases it when the process ends, so a file that a killed
    process leaves does not count. On file systems without locks, the file itself is the lock: it does not count if it
    names a process of this machine that has ended.

    Args:
        file: The lock file.

    Raises:
        HeldError: Another holds it.
        OSError: The file cannot be written.
    """
    descriptor = _take(file)
    try:
        yield
    finally:
        # while the lock is held, so that nobody else's file is removed
        if os.name != "nt":
            with contextlib.suppress(OSError):
                file.unlink()
        os.close(descriptor)
        if os.name == "nt":  # an open file cannot be removed there, nor one that another process has just opened
            with contextlib.suppress(OSError):
                file.unlink()


def is_locked(file: Path) -> bool:
    """Return whether someone holds a lock."""
    return file.is_file() and _is_held(file)


def holder_of(file: Path) -> Holder | None:
    """Return who a lock file names; None if there is none or it cannot be read."""
    try:
        with file.open("rb") as opened:
            note = json.loads(opened.read(MAX_NOTE))
        return Holder(int(note["process"]), str(note["host"])[:100], str(note["since"])[:40])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def lock_open(descriptor: int) -> None:
    """Lock an open file, where the system can do that, until it is closed."""
    if os.name != "nt":  # locked bytes cannot be written by another handle there
        with contextlib.suppress(OSError):
            _lock_by_system(descriptor)


def is_abandoned(file: Path) -> bool:
    """Return whether a file that `lock_open` locked is there still, and its process no more; False if in doubt."""
    if os.name == "nt":
        return False
    try:
        with file.open("rb+") as opened:
            _lock_by_system(opened.fileno())
    except OSError:
        return False
    return True


def _is_held(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:  # another user's
        holder = holder_of(file)
        return holder is None or not holder.is_gone()
    try:
        return not _lock(descriptor, file)
    finally:
        os.close(descriptor)


def _take(file: Path) -> int:
    while True:
        before = file.exists()
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(descriptor, file, fresh=not before):
                raise HeldError(file, holder_of(file))
            # the one that held it may have removed the file in between
            if os.path.lexists(file) and os.path.samestat(os.fstat(descriptor), file.stat()):
                since = datetime.now(timezone.utc).isoformat(timespec="seconds")
                note = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, json.dumps(note).encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, file: Path, *, fresh: bool = False) -> bool:
    """Take the system's lock of an open file; where there is none, the file counts unless its holder is gone."""
    try:
        _lock_by_system(descriptor)
    except BlockingIOError:
        return False
    except OSError as error:
        if os.name == "nt" and isinstance(error, PermissionError):
            return False
        holder = holder_of(file)
        return fresh or holder is None or holder.is_gone()
    return True


def _lock_by_system(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        os.lseek(descriptor, _WINDOWS_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
