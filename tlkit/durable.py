"""Files and folders that survive a power cut, and that take their final names in one step."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tlkit.errors import TlkitError
from tlkit.locks import is_abandoned, lock_open

_AT_FDCWD = -100 if sys.platform.startswith("linux") else -2  # the current folder, as an argument of the system
_NO_REPLACE, _EXCHANGE = (1, 2) if sys.platform.startswith("linux") else (4, 2)
_PART = re.compile(r"\.tlkit-[0-9a-f]{16}(\.\w+)?")
_NOT_THERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


def sync_file(path: Path) -> None:
    """Have the contents of a file written to the disk, not only to the system's memory.

    Raises:
        OSError: They cannot be written.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk, where the system can do that.

    Raises:
        OSError: They cannot be written.
    """
    if os.name == "nt":  # folders cannot be opened there; NTFS keeps a journal of names
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_THERE:  # some network drives
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Have all files in a folder, and their names, written to the disk.

    Raises:
        OSError: They cannot be written.
    """
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            sync_tree(path)
        else:
            sync_file(path)
    sync_folder(folder)


def rename_new(path: Path, target: Path) -> None:
    """Rename a file or folder, and never replace anything, not even an empty folder.

    Raises:
        FileExistsError: Something with that name exists.
        OSError: It cannot be renamed.
    """
    if _rename_by_system(path, target, _NO_REPLACE):
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    path.rename(target)


def exchange(path: Path, other: Path) -> bool:
    """Let two files or folders exchange their names in one step.

    Returns:
        Whether the system can do that; if not, nothing was changed.

    Raises:
        OSError: One of them does not exist, or cannot be renamed.
    """
    return _rename_by_system(path, other, _EXCHANGE)


def _rename_by_system(path: Path, target: Path, flag: int) -> bool:
    """Call renameat2 of Linux or renameatx_np of macOS; return whether the system has it for these folders."""
    call = _system_call()
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(target), flag) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_THERE:
        return False
    raise OSError(code, os.strerror(code), str(path), None, str(target))


def _system_call() -> Callable[..., int] | None:
    name = {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform)
    if name is None:
        return None
    try:
        call = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError):  # an old system
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    call.restype = ctypes.c_int
    return call  # type: ignore[no-any-return]


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Provide the path of a file to write, which becomes ``target`` when it is complete, and is removed otherwise.

    It has the same suffix, and is hidden beside the target, on whose name nothing may lie. Such files that killed
    processes left are removed.

    Raises:
        TlkitError: The target exists by now or cannot be written; what the writer raises as an OSError too.
    """
    sweep(target.parent)
    try:
        with new_file_unswept(target) as part:
            yield part
    except OSError as error:
        raise TlkitError(f"cannot write {target}: {error.strerror or error}") from error


@contextlib.contextmanager
def new_file_unswept(target: Path) -> Iterator[Path]:
    """Do as `new_file`, but leave what killed processes left: for folders that get many files.

    Raises:
        FileExistsError: The target exists by now.
        OSError: It cannot be written.
    """
    part = target.with_name(f".tlkit-{secrets.token_hex(8)}{target.suffix}")
    try:
        with part.open("xb") as held:
            lock_open(held.fileno())  # so that others can tell it from what a killed process left
            yield part
            # by the open file if it can be: what was written may be read-only by now
            if os.path.samestat(os.fstat(held.fileno()), part.stat()):
                os.fsync(held.fileno())
            else:
                sync_file(part)
        rename_new(part, target)
        sync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove files of `new_file` whose process was killed."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if _PART.fullmatch(path.name) and path.is_file() and not path.is_symlink() and is_abandoned(path):
                path.unlink()
