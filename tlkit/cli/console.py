"""Rich: progress bars and styled lines. The result goes to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from tlkit.cli.exits import printable
from tlkit.progress import Advance, ignore

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 110  # columns of a terminal, from which on there is room for all


def out() -> Console:
    """The console the result is written to."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, emoji=False, soft_wrap=not sys.stdout.isatty())


class ConsoleProgress:
    """Progress on stderr: bars on a terminal, else a plain line a phase."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(file=_own_stderr(), highlight=False, emoji=False, soft_wrap=True)

    @contextmanager
    def phase(self, title: str, total: int | None) -> Iterator[Advance]:
        """Show one phase while it lasts: what, how many, how long still."""
        if not self._console.is_terminal:
            self._plain(title if total is None else f"{title}: {total}")
            yield ignore
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        columns: list[Any] = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        if total is not None:
            narrow = self._console.width < WIDE
            columns += [BarColumn(10 if narrow else 40), MofNCompleteColumn(), TimeRemainingColumn()]
            columns += [] if narrow else [TimeElapsedColumn()]
        else:
            columns += [TimeElapsedColumn()]
        # what is said of the work takes the room that is left
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        columns += [TextColumn("{task.fields[status]}", markup=False, table_column=rest)]
        # rich would otherwise send what is printed to stdout to this console, which is stderr
        bar = Progress(
            *columns,
            console=self._console,
            transient=True,
            expand=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with bar:
            task = bar.add_task(title, total=total, status="")

            def advance(steps: int, status: str = "", /) -> None:
                fields: dict[str, Any] = {"status": status} if status else {}
                bar.update(task, advance=steps, **fields)

            yield advance

    def milestone(self, message: str) -> None:
        """A line, unless a bar shows the same."""
        if not self._console.is_terminal:
            self._plain(message)

    def note(self, message: str) -> None:
        """One line on stderr."""
        self._plain(f"note: {message}")

    def _plain(self, message: str) -> None:
        self._console.print(printable(message), markup=False)


def _own_stderr() -> IO[str]:
    """A duplicate of stderr, so that bars go on while native libraries' messages are sent nowhere."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="backslashreplace")
    except (OSError, AttributeError, ValueError):  # captured or absent
        return sys.stderr
