"""How long work reports that it moves on, without knowing who is watching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """What the command line shows and a library caller may leave out."""

    def phase(self, title: str, total: int | None) -> AbstractContextManager[Advance]:
        """Open a phase of ``total`` steps (None: unknown); call the returned function with steps done."""
        ...

    def note(self, message: str) -> None:
        """Tell the user one line that is not the result."""
        ...


class SilentProgress:
    """Shows nothing: the default of the Python API."""

    @contextmanager
    def phase(self, title: str, total: int | None) -> Iterator[Advance]:
        """Open a phase nobody sees."""
        yield lambda steps: None

    def note(self, message: str) -> None:
        """Drop the message."""
