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

    def stage(self, title: str, number: int, total: int | None) -> None:
        """Begin a main stage of the work, which lasts until the next one; phases are its parts.

        Args:
            title: What is done.
            number: Its number, from 1; it only rises.
            total: Number of stages; None: not known yet.
        """
        ...

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

    def stage(self, title: str, number: int, total: int | None) -> None:
        """Drop the stage."""

    @contextmanager
    def phase(self, title: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002
        """Open a phase without output."""
        yield ignore

    def milestone(self, message: str) -> None:
        """Drop the message."""

    def note(self, message: str) -> None:
        """Drop the message."""


class OnlyNotes(SilentProgress):
    """A reporter that passes on notes and shows no progress.

    Args:
        show: The reporter that shows the notes.
    """

    def __init__(self, show: Progress) -> None:
        self._show = show

    def note(self, message: str) -> None:
        """Pass the message on."""
        self._show.note(message)


class Stages:
    """Numbers the main stages of a command, as far as they are known.

    The total is told only once it is certain, and numbers only rise: a stage that is left out counts as done.
    """

    def __init__(self) -> None:
        self._title = ""
        self._number = 0
        self._ahead: tuple[str, ...] = ()
        self._certain = False

    def expect(self, *titles: str, certain: bool = True) -> None:
        """Set the stages that are still to come, in order.

        Args:
            titles: Their titles.
            certain: Whether there will be no others.
        """
        self._ahead, self._certain = titles, certain

    def begin(self, title: str, show: Progress) -> None:
        """Begin a stage and report it, unless it has begun."""
        if title == self._title:
            return
        place = self._ahead.index(title) + 1 if title in self._ahead else 0
        self._ahead = self._ahead[place:]
        self._title, self._number = title, self._number + max(1, place)
        show.stage(title, self._number, self._number + len(self._ahead) if self._certain else None)
