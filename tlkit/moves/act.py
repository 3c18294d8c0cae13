"""Copy, move or link one file as a step of a journal says, and finish or take back such a step."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import shutil
from pathlib import Path

from tlkit.durable import new_file_unswept, rename_new, sync_folder
from tlkit.moves.journal import COPY, LINK, MOVE, Step, state


def make_step(source: str, target: Path, label: str | None = None, probability: float | None = None) -> Step | None:
    """Describe how a file goes to a place; None if the file is not there.

    Args:
        source: The file, absolute.
        target: Its new place, absolute.
        label: The class it was taken for.
        probability: How sure that is.
    """
    its = state(source)
    if its is None:
        return None
    link = os.fspath(Path(source).readlink()) if its.is_link else None
    return Step(source, str(target), its.size, its.mtime_ns, (its.device, its.file), link, label, probability)


def carry_out(step: Step, action: str) -> None:
    """Carry out a step; the target is there whole or not at all, and never replaces anything.

    Raises:
        FileExistsError: Something is at the target by now.
        OSError: The file cannot be read, written or removed.
    """
    source, target = Path(step.source), Path(step.target)
    if action == LINK:
        target.symlink_to(source)
    elif action == COPY:
        _copy(source, target)
    else:
        _move(step, source, target)


def is_there(step: Step, action: str) -> bool:
    """Return whether a file's copy or link is at the target already, as of an earlier run.

    Raises:
        OSError: A file cannot be read.
    """
    if action == MOVE or not _is_made(step, action):
        return False
    return action == LINK or _same(step.source, step.target)


def finish(step: Step, action: str) -> bool:
    """Finish a step that a killed process may have left half done; return whether it is done now.

    A move to another file system copies first, so a process that is killed in between leaves the file in both places.

    Raises:
        OSError: A file cannot be read or removed.
    """
    if action != MOVE:
        return _is_made(step, action)
    if not step.is_at(step.target):
        return False
    if state(step.source) is None:
        return True
    if step.link is None and step.is_at(step.source) and _same(step.source, step.target):
        os.unlink(step.source)  # noqa: PTH108
        return True
    return False


def take_back(step: Step, action: str) -> str | None:
    """Take a step back; return why that is not possible, or None if it is done or there was nothing to do.

    Nothing is taken back that was changed since, nothing is replaced, and no copy is removed whose original is gone.
    """
    try:
        return _take_back_move(step) if action == MOVE else _take_back_made(step, action)
    except FileExistsError:
        return "another file has its old name"
    except OSError as error:
        return error.strerror or str(error)


def _is_made(step: Step, action: str) -> bool:
    """Whether the copy or link of a step is there."""
    if action == LINK:
        its = state(step.target)
        return its is not None and its.is_link and os.fspath(Path(step.target).readlink()) == step.source
    its = state(step.target)
    return its is not None and not its.is_link and (step.link is not None or step.is_at(step.target))


def _take_back_made(step: Step, action: str) -> str | None:
    if state(step.target) is None:
        return None
    if not _is_made(step, action):
        return "it was changed since"
    if action == COPY and (not os.path.exists(step.source) or not _same(step.source, step.target)):  # noqa: PTH110
        return "its original is gone or was changed, so the copy stays"
    os.unlink(step.target)  # noqa: PTH108
    return None


def _take_back_move(step: Step) -> str | None:
    if state(step.target) is None:
        return None if state(step.source) is not None else "it is no longer there"
    if not step.is_at(step.target):
        # a line that was written and not carried out; another file got the name
        return None if step.is_at(step.source) else "it was changed since"
    if step.is_at(step.source) and not step.is_at(step.target, same_file=True):
        if _same(step.source, step.target):  # a copy that a killed process left
            os.unlink(step.target)  # noqa: PTH108
            return None
        return "another file has its old name"
    source, target = Path(step.source), Path(step.target)
    source.parent.mkdir(parents=True, exist_ok=True)
    if step.link is not None:
        source.symlink_to(step.link)
        target.unlink()
        return None
    _rename_or_copy(target, source)
    return None


def _move(step: Step, source: Path, target: Path) -> None:
    if step.link is None:
        _rename_or_copy(source, target)
        return
    # a relative link would point to nothing from another folder
    target.symlink_to(os.path.abspath(source.parent / step.link))  # noqa: PTH100
    source.unlink()


def _rename_or_copy(source: Path, target: Path) -> None:
    try:
        rename_new(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)  # to another file system
        source.unlink()
    # the new name before the old one is forgotten
    sync_folder(target.parent)
    with contextlib.suppress(FileNotFoundError):
        sync_folder(source.parent)


def _copy(source: Path, target: Path) -> None:
    with new_file_unswept(target) as part:
        shutil.copyfile(source, part)
        shutil.copystat(source, part)


def _same(one: str, other: str) -> bool:
    return filecmp.cmp(one, other, shallow=False)
