"""The interface through which long-running work reports its progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """A callback that advances the progress of a phase."""

    def __call__(self, steps: int, status: str = "", /) -> None:
        """Report ``steps`` more steps as done; a ``status`` that is not empty is shown beside the progress."""
        ...


class Progress(Protocol):
    """A progress reporter. The command line passes one; library callers may leave it out."""

    def phase(self, title: str, total: int | None) -> AbstractContextManager[Advance]:
        """Open a phase of ``total`` steps (None: unknown); call the returned function as steps are done."""
        ...

    def milestone(self, message: str) -> None:
        """Show one line about a long phase if no progress bar is shown."""
        ...

    def note(self, message: str) -> None:
        """Show the user one line that is not part of the result."""
        ...


def ignore(steps: int, status: str = "", /) -> None:
    """Do nothing: an `Advance` without output."""


class SilentProgress:
    """A reporter without output, the default of the Python API."""

    @contextmanager
    def phase(self, title: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002
        """Open a phase without output."""
        yield ignore

    def milestone(self, message: str) -> None:
        """Drop the message."""

    def note(self, message: str) -> None:
        """Drop the message."""
