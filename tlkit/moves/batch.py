"""Many files that go into folders, by a journal; and the way back."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tlkit.durable import sweep, sync_folder
from tlkit.errors import TlkitError
from tlkit.files import check_path
from tlkit.locks import HeldError, locked
from tlkit.moves.act import carry_out, finish, is_there, make_step, take_back
from tlkit.moves.folders import free_name
from tlkit.moves.journal import FORMAT, MOVE, Header, Journal, JournalWriter, Step, read_journal

BATCH = 32  # files whose lines are written to the disk together, before the first of them goes anywhere
MAX_NAMES = 100_000  # numbered names tried for a file
Advance = Callable[[int], object]
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Wanted:
    """A file that is to go somewhere.

    Attributes:
        source: The file, as given.
        folder: Name of the folder inside the target folder.
        label: The class it was taken for; None: none.
        probability: How sure that is, 0..1; None likewise.
    """

    source: str
    folder: str
    label: str | None = None
    probability: float | None = None


@dataclass(frozen=True)
class Went:
    """Where a file went.

    Attributes:
        source: The file, as given.
        target: Where it, its copy or its link is now; None: it stayed where it was.
        error: Why it stayed, else None.
    """

    source: str
    target: Path | None
    error: str | None = None


def journal_place(into: Path) -> Path:
    """Return the journal of files that go into a folder: the unfinished one beside it, or a new name."""
    for number in itertools.count(1):
        path = into.with_name(f"{into.name}.journal{'' if number == 1 else f'-{number}'}.jsonl")
        if not os.path.lexists(path) or _is_unfinished(path):
            break
    return path


def _lock_of(journal: Path) -> Path:
    """Return the lock of a journal, the same for all of one folder."""
    return journal.with_name(re.sub(r"(-\d+)?\.jsonl$", "", journal.name) + ".lock")


def _is_unfinished(path: Path) -> bool:
    try:
        journal = read_journal(path)
    except TlkitError:  # somebody else's file
        return False
    return not (journal.done or journal.undone)


class Mover:
    """Sends files into the folders of one folder, and goes on with a journal that was not finished.

    Use it as a context manager. Attributes:
        journal: The journal's file.
        resumed: Number of files that went where they belong in an earlier run.
    """

    def __init__(self, into: Path, action: str, asked: Any) -> None:
        """Prepare; nothing is written yet.

        Args:
            into: The folder, which is made if it does not exist.
            action: "copy", "move" or "link".
            asked: Plain data that says what decides where files go; an unfinished journal must say the same.

        Raises:
            TlkitError: There is an unfinished journal of something else, or the folder is none.
        """
        check_path(into, "--sort-into")
        self._into = Path(os.path.abspath(into))  # noqa: PTH100  (keeps the user's links)
        if os.path.lexists(self._into) and not self._into.is_dir():
            raise TlkitError(f"not a folder: {into}", "choose another --sort-into")
        if not self._into.parent.is_dir():
            raise TlkitError(f"no such folder: {into.parent}", "create it, or choose another --sort-into")
        self.journal = journal_place(self._into)
        self._header = Header(FORMAT, action, str(self._into), asked, datetime.now(timezone.utc).isoformat())
        self._before = read_journal(self.journal) if self.journal.exists() else None
        if self._before is not None and not self._is_same(self._before.header):
            raise TlkitError(
                f"{self.journal} is of an unfinished run that was asked for something else",
                f"repeat that command to finish it, or take it back: tlkit undo {self.journal}",
            )
        self.resumed = 0
        self._placed: dict[str, str] = {}
        self._folders: set[Path] = set()
        self._stack = contextlib.ExitStack()

    def _is_same(self, other: Header) -> bool:
        return (other.action, other.into, other.asked) == (self._header.action, str(self._into), self._header.asked)

    def __enter__(self) -> Mover:
        """Open the journal and finish what a killed run left half done."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(_lock_of(self.journal)))
            except HeldError as error:
                raise TlkitError(f"another run uses {self.journal}: {error.holder}", "wait for it") from None
            except OSError as error:
                raise TlkitError(f"cannot write {self.journal}: {error.strerror or error}") from error
            before = read_journal(self.journal) if self.journal.exists() else None
            if (before and before.end) != (self._before and self._before.end):
                raise TlkitError(f"another run has just used {self.journal}", "run the command again")
            self._writer = JournalWriter(self.journal, self._header, None if before is None else before.end)
            stack.callback(self._writer.close)
            for step in () if before is None else before.steps:
                with _told(step.target):
                    if finish(step, self._header.action):
                        self._placed[step.source] = step.target
            self.resumed = len(self._placed)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the journal; it is finished if no error ended the block."""
        with self._stack:
            if kind is None:
                self._writer.note("done", datetime.now(timezone.utc).isoformat())

    def is_placed(self, source: str) -> bool:
        """Return whether an earlier run put a file where it belongs."""
        return os.path.abspath(source) in self._placed  # noqa: PTH100

    def send(self, files: Iterable[Wanted]) -> Iterator[Went]:
        """Send files on their way, in groups; yield where each went.

        Raises:
            TlkitError: The journal or a folder cannot be written.
        """
        group: list[Wanted] = []
        for each in files:
            group.append(each)
            if len(group) == BATCH:
                yield from self._send(group)
                group.clear()
        yield from self._send(group)

    def _send(self, group: Sequence[Wanted]) -> Iterator[Went]:
        taken: set[str] = set()
        steps = [self._step(each, taken) for each in group]
        for step in steps:
            if isinstance(step, Step):
                self._writer.step(step)
        self._writer.sync()
        for each, step in zip(group, steps, strict=True):
            yield self._carry_out(each, step)

    def _step(self, wanted: Wanted, taken: set[str]) -> Step | Went | None:
        """Choose a free name for a file; those that others of its group will have are not free.

        Returns:
            The step; None if the file is not there; or where its copy or link is already.
        """
        folder = self._folder(wanted.folder)
        source = os.path.abspath(wanted.source)  # noqa: PTH100
        plain = folder / os.path.basename(source)  # noqa: PTH119
        for number in range(1, MAX_NAMES):
            target = free_name(plain, number)
            key = os.path.normcase(target).casefold()
            if key in taken:
                continue
            step = make_step(source, target, wanted.label, wanted.probability)
            if not os.path.lexists(target):
                taken.add(key)
                return step
            with contextlib.suppress(OSError):
                if step is not None and is_there(step, self._header.action):
                    return Went(wanted.source, target)
        raise TlkitError(f"too many files are called {plain.name} in {folder}")

    def _carry_out(self, wanted: Wanted, step: Step | Went | None) -> Went:
        while isinstance(step, Step):
            try:
                carry_out(step, self._header.action)
            except FileExistsError:  # another program took the name
                step = self._step(wanted, set())
                if isinstance(step, Step):
                    self._writer.step(step)
                    self._writer.sync()
                continue
            except OSError as error:
                if error.errno in _NO_ROOM:
                    raise TlkitError(f"cannot write {step.target}: {error.strerror}") from error
                return Went(wanted.source, None, error.strerror or str(error))
            return Went(wanted.source, Path(step.target))
        return step or Went(wanted.source, None, "it is no longer there")

    def _folder(self, name: str) -> Path:
        folder = self._into / name
        if folder not in self._folders:
            for each in (self._into, folder):
                if not each.is_dir():
                    with _told(str(each)):
                        self._writer.folder(each)
                        self._writer.sync()
                        each.mkdir(exist_ok=True)
                        sync_folder(each.parent)
            sweep(folder)
            self._folders.add(folder)
        return folder


@dataclass(frozen=True)
class TakenBack:
    """The result of taking a journal back.

    Attributes:
        restored: Number of files that are as they were before.
        left: (file, reason) of every file that was left where it is.
        folders: Number of folders removed.
    """

    restored: int
    left: tuple[tuple[str, str], ...]
    folders: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        left = [{"file": path, "reason": reason} for path, reason in self.left]
        return {"restored": self.restored, "left": left, "folders": self.folders}


def take_back_all(journal: Journal, advance: Advance, *, dry_run: bool = False) -> TakenBack:
    """Take back everything that a journal says was done, the last first. It may be killed and repeated.

    Args:
        journal: The journal, from `read_journal`.
        advance: Called with 1 after every file.
        dry_run: Change nothing; say what would be done.

    Raises:
        TlkitError: It was taken back before, or is in use.
    """
    if journal.undone:
        raise TlkitError(f"{journal.path} was taken back before")
    if dry_run:
        return TakenBack(sum(1 for step in _latest(journal) if _is_done(step, journal)), (), 0)
    try:
        with locked(_lock_of(journal.path)):
            return _take_back(journal, advance)
    except HeldError as error:
        raise TlkitError(f"another run uses {journal.path}: {error.holder}", "wait for it") from None
    except OSError as error:
        raise TlkitError(f"cannot write beside {journal.path}: {error.strerror or error}") from error


def _is_done(step: Step, journal: Journal) -> bool:
    """Whether a step of a journal was carried out and its file is as it was left."""
    return step.is_at(step.target) if journal.header.action == MOVE else os.path.lexists(step.target)


def _take_back(journal: Journal, advance: Advance) -> TakenBack:
    restored, left = 0, []
    for step in reversed(journal.steps):
        was_there = os.path.lexists(step.target)
        reason = take_back(step, journal.header.action)
        if reason is not None:
            left.append((step.target, reason))
        else:
            restored += was_there and not os.path.lexists(step.target)
        advance(1)
    folders = 0
    for name in reversed(journal.folders):
        sweep(Path(name))
        with contextlib.suppress(OSError):  # it does not exist, or holds something else
            os.rmdir(name)  # noqa: PTH106
            folders += 1
    writer = JournalWriter(journal.path, journal.header, journal.end)
    try:
        if not left:
            writer.note("undone", datetime.now(timezone.utc).isoformat())
    finally:
        writer.close()
    return TakenBack(restored, tuple(left), folders)


def _latest(journal: Journal) -> Iterator[Step]:
    """Yield the last step for each target."""
    yield from {step.target: step for step in journal.steps}.values()


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TlkitError(f"cannot write {path}: {error.strerror or error}") from error
