"""A journal of files that are copied, moved or linked: JSON Lines, each line written before what it says is done.

A journal never says more than it can prove. What was done is found out from the files themselves: each line holds the
file's size, time and, for a move, its number in the file system. So a process may be killed at any moment.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Annotated, Any

from tlkit.durable import new_file
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.schema import Length, OneOf, WrongDataError, parsed

FORMAT = 1
COPY, MOVE, LINK = "copy", "move", "link"
ACTIONS = (COPY, MOVE, LINK)
MAX_LINE = 1 << 20
_Path = Annotated[str, Length(1, 100_000)]


@dataclass(frozen=True)
class Header:
    """What a journal is about.

    Attributes:
        journal: Version of its format.
        action: "copy", "move" or "link".
        into: The folder that files go to, absolute.
        asked: What the run was asked for; a run that goes on with the journal must be asked for the same.
        started: When it was begun, in ISO 8601.
    """

    journal: int
    action: Annotated[str, OneOf(ACTIONS)]
    into: _Path
    asked: Any
    started: Annotated[str, Length(0, 100)]


@dataclass(frozen=True)
class Step:
    """One file that goes from one place to another.

    Attributes:
        source: Where it is before, absolute.
        target: Where it is afterwards, absolute.
        size: Its size in bytes.
        mtime_ns: Time of its last change in nanoseconds.
        number: Its device and number there, which a move inside a file system leaves as they are.
        link: What the file says if it is a symbolic link, else None.
        label: The class it was taken for; None: none.
        probability: How sure that is, 0..1; None likewise.
    """

    source: _Path
    target: _Path
    size: int
    mtime_ns: int
    number: tuple[int, int]
    link: _Path | None = None
    label: str | None = None
    probability: float | None = None

    def is_at(self, place: str, *, same_file: bool = False) -> bool:
        """Whether this file, unchanged, is at a place.

        Args:
            place: The path.
            same_file: Whether a copy does not count.
        """
        its = state(place)
        if its is None or (self.link is not None) != its.is_link:
            return False
        if same_file and (its.device, its.file) != tuple(self.number):
            return False
        if self.link is not None:
            return True
        return (its.size, its.mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True)
class State:
    """What the system says of a file: its size, time, number, and whether it is a symbolic link."""

    size: int
    mtime_ns: int
    device: int
    file: int
    is_link: bool


def state(path: str | Path) -> State | None:
    """Return what the system says of a file or link itself; None if there is none."""
    try:
        its = os.lstat(path)
    except (OSError, ValueError):
        return None
    link = os.path.islink(path)  # noqa: PTH114
    return State(its.st_size, its.st_mtime_ns, its.st_dev, its.st_ino, link)


@dataclass(frozen=True)
class Journal:
    """A journal as read.

    Attributes:
        path: Its file.
        header: What it is about.
        steps: Files, in the order in which their lines were written; a file may occur twice.
        folders: Folders that were made for them, absolute, in the order made.
        done: Whether the run came to its end.
        undone: Whether everything was taken back.
        end: Bytes up to the end of the last whole line.
    """

    path: Path
    header: Header
    steps: Sequence[Step]
    folders: Sequence[str]
    done: bool
    undone: bool
    end: int


def read_journal(path: Path) -> Journal:
    """Read a journal, which may have been cut off by a power cut.

    Raises:
        TlkitError: It cannot be read, or is no journal.
    """
    header: Header | None = None
    steps: list[Step] = []
    folders: list[str] = []
    done = undone = False
    end = 0
    try:
        with path.open("rb") as file:
            for text, place in _lines(file):
                data = json.loads(text)
                if header is None:
                    header = parsed(Header, data, "header")
                elif "folder" in data:
                    folders.append(parsed(_Path, data["folder"], "folder"))
                elif "source" in data:
                    steps.append(parsed(Step, data, "step"))
                done, undone = done or "done" in data, "undone" in data
                end = place
    except OSError as error:
        raise TlkitError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, RecursionError, WrongDataError) as error:
        raise TlkitError(f"not a journal of tlkit: {path}", "give the file that --sort-into named") from error
    if header is None or header.journal != FORMAT:
        raise TlkitError(f"not a journal of tlkit: {path}", "give the file that --sort-into named")
    return Journal(path, header, steps, folders, done, undone, end)


def _lines(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield whole lines and where they end; what was cut off at the end is left out."""
    place = 0
    while line := file.readline(MAX_LINE):
        if not line.endswith(b"\n"):
            if len(line) == MAX_LINE:
                raise ValueError("a line is too long")
            return
        place += len(line)
        yield line, place


class JournalWriter:
    """Writes a journal, new or to be continued.

    Args:
        path: Its file.
        header: What it is about.
        end: Where to go on; None: a new file.

    Raises:
        TlkitError: The file exists or cannot be written.
    """

    def __init__(self, path: Path, header: Header, end: int | None = None) -> None:
        self._path = path
        try:
            if end is None:
                with new_file(path) as part:  # so that a journal has its header or does not exist
                    text = f"{json_text(asdict(header))}\n".encode()
                    part.write_bytes(text)
                end = len(text)
            self._file = path.open("r+b")
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as error:
            raise self._failed(error) from error

    def folder(self, path: Path) -> None:
        """Note a folder that is about to be made."""
        self._write({"folder": str(path)})

    def step(self, step: Step) -> None:
        """Note a file that is about to go somewhere."""
        self._write(asdict(step))

    def note(self, name: str, value: Any) -> None:
        """Note the end of something: "done" or "undone"."""
        self.sync()
        self._write({name: value})
        try:
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error
        with contextlib.suppress(OSError):  # if this line is lost, the next run finds nothing left to do
            os.fsync(self._file.fileno())

    def sync(self) -> None:
        """Have everything written to the disk."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file; what a full disk did not take is lost."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, data: dict[str, Any]) -> None:
        try:
            self._file.write(f"{json_text(data)}\n".encode())
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> TlkitError:
        return TlkitError(f"cannot write {self._path}: {error.strerror or error}")
