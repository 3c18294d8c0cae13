"""Progress bars and styled lines, with Rich. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from tlkit.cli.exits import printable
from tlkit.cli.streams import forgiving
from tlkit.progress import Advance, ignore

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

MIN_WIDE = 110  # terminal columns with room for every part of a progress bar


def out() -> Console:
    """Make the console that results are written to."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def sayer(console: Console) -> Callable[..., None]:
    """Return ``say(line, style="", whole=False)``, which prints a line.

    On a terminal, lines wrap at words; ``whole`` ones do not: commands and paths are there to be copied.
    """
    from rich.text import Text

    def say(line: str, style: str = "", *, whole: bool = False) -> None:
        console.print(Text(printable(line), style=style), soft_wrap=whole or not console.is_terminal)

    return say


class ConsoleProgress:
    """Progress on stderr: bars on a terminal, otherwise one plain line per phase.

    As a context manager it shows the current stage wherever no phase is open, so that the screen is never blank, until
    the block ends. On a terminal, the titles of phases begin with the number of their stage.
    """

    def __init__(self) -> None:
        from rich.console import Console

        stream = _own_stderr()
        if stream is not sys.stderr:
            weakref.finalize(self, stream.close)
        self._console = Console(file=stream, highlight=False, emoji=False, soft_wrap=True)
        self._number = ""
        self._between: Bars | None = None  # shown where no phase is open

    def __enter__(self) -> ConsoleProgress:
        """Begin work in stages."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the last stage."""
        self._end_stage()

    def stage(self, title: str, number: int, total: int | None) -> None:
        """Show a stage until the next one begins."""
        if not self._console.is_terminal:
            return
        self._end_stage()
        self._number = f"[{number}] " if total is None else f"[{number}/{total}] "
        if not self._console.is_interactive:  # a terminal that cannot erase lines
            return
        self._between = self._bars(None)
        self._between.add_task(f"{self._number}{title}", total=None, status="")
        self._between.start()

    def _end_stage(self) -> None:
        if self._between is not None:
            self._between.stop()
        self._number, self._between = "", None

    @contextmanager
    def phase(self, title: str, total: int | None) -> Iterator[Advance]:
        """Show one phase while it runs: its title, steps done and time left."""
        if not self._console.is_terminal:
            self._plain(title if total is None else f"{title}: {total}")
            yield ignore
            return
        between = self._between
        if between is not None:  # older releases of rich show one thing at a time
            between.stop()
        try:
            with self._bars(total) as bars:
                task = bars.add_task(f"{self._number}{title}", total=total, status="")

                def advance(steps: int, status: str = "", /) -> None:
                    fields: dict[str, Any] = {"status": status} if status else {}
                    bars.update(task, advance=steps, **fields)

                yield advance
        finally:
            if between is not None and between is self._between:
                between.start()

    def _bars(self, total: int | None) -> Bars:
        """Make the display of one title with its progress; it vanishes when it ends."""
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
            narrow = self._console.width < MIN_WIDE
            columns += [BarColumn(10 if narrow else 40), MofNCompleteColumn(), TimeRemainingColumn()]
            columns += [] if narrow else [TimeElapsedColumn()]
        else:
            columns += [TimeElapsedColumn()]
        # the status takes the remaining width
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        columns += [TextColumn("{task.fields[status]}", markup=False, table_column=rest)]
        # by default rich redirects stdout to this console, which is stderr
        return Progress(
            *columns,
            console=self._console,
            transient=True,
            expand=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def milestone(self, message: str) -> None:
        """Print a line, unless a bar shows the same."""
        if not self._console.is_terminal:
            self._plain(message)

    def note(self, message: str) -> None:
        """Print one line on stderr."""
        self._plain(f"note: {message}")

    def _plain(self, message: str) -> None:
        self._console.print(printable(message), markup=False, soft_wrap=not self._console.is_terminal)


def _own_stderr() -> IO[str]:
    """Duplicate stderr, so that bars still show while messages of native libraries are discarded."""
    try:
        return forgiving(os.dup(sys.stderr.fileno()))
    except (OSError, AttributeError, ValueError):  # captured or absent
        return sys.stderr
