"""How long work reports that it moves on, without knowing who is watching."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Told that some steps of a phase are done."""

    def __call__(self, steps: int, status: str = "", /) -> None:
        """``steps`` more are done; ``status``, if not empty, is what there is to say of the work just now."""
        ...


class Progress(Protocol):
    """What the command line shows and a library caller may leave out."""

    def phase(self, title: str, total: int | None) -> AbstractContextManager[Advance]:
        """Open a phase of ``total`` steps (None: unknown); call the returned function with steps done."""
        ...

    def milestone(self, message: str) -> None:
        """Tell one line of a long phase where no bar is shown."""
        ...

    def note(self, message: str) -> None:
        """Tell the user one line that is not the result."""
        ...


def ignore(steps: int, status: str = "", /) -> None:
    """An `Advance` that nobody sees."""


class SilentProgress:
    """Shows nothing: the default of the Python API."""

    @contextmanager
    def phase(self, title: str, total: int | None) -> Iterator[Advance]:
        """Open a phase nobody sees."""
        yield ignore

    def milestone(self, message: str) -> None:
        """Drop the message."""

    def note(self, message: str) -> None:
        """Drop the message."""
