"""What stands on a terminal while a command works."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from tlkit.cli.console import ConsoleProgress

Shown = Callable[[], str]


@pytest.fixture
def terminal() -> tuple[ConsoleProgress, Shown]:
    """A reporter on a terminal, and what was drawn on it since the last time."""
    drawn, show = io.StringIO(), ConsoleProgress()
    show._console = Console(file=drawn, force_terminal=True, force_interactive=True, width=100, color_system=None)

    def shown() -> str:
        text = drawn.getvalue()
        drawn.seek(0)
        drawn.truncate()
        return text

    return show, shown


def test_the_stage_stands_where_no_phase_does(terminal: tuple[ConsoleProgress, Shown]) -> None:
    show, shown = terminal
    with show:
        show.stage("Reading the images", 1, None)
        assert "[1] Reading the images" in shown()
        with show.phase("Features", 20) as advance:
            advance(3)
            assert "[1] Features" in shown()
        assert "[1] Reading the images" in shown()
        show.stage("Solving the head", 2, 3)
        assert "[2/3] Solving the head" in shown()
        with pytest.raises(ValueError, match="no"), show.phase("Cross-validation", None):
            raise ValueError("no")
        assert "[2/3] Solving the head" in shown()
    shown()
    with show.phase("Writing the report", None):
        found = shown()
    assert "Writing the report" in found
    assert "[2/3]" not in found
    assert "head" not in shown()


def test_the_display_ends_with_the_block_whatever_happens(terminal: tuple[ConsoleProgress, Shown]) -> None:
    show, shown = terminal
    show.__enter__()
    show.stage("Saving", 1, 1)
    show.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    shown()
    show.note("what comes after stands alone")
    assert shown() == "note: what comes after stands alone\n"


def test_without_a_terminal_stages_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress() as show:
        show.stage("Reading the images", 1, 4)
        with show.phase("Features", 20) as advance:
            advance(20)
        show.milestone("step 1 of 2")
    assert capsys.readouterr().err == "Features: 20\nstep 1 of 2\n"
