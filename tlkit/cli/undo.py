"""``tlkit undo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.exits import Exit, printable
from tlkit.cli.options import Debug, Json
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.moves.batch import TakenBack

SHOWN = 10  # files that are named each on a line


def undo_command(
    journal: Annotated[Path, typer.Argument(metavar="JOURNAL", help="Journal that predict --sort-into named.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, only count.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Take back what predict --sort-into did: every file goes back where it was.

    Example: tlkit undo sorted.journal.jsonl
    """
    from tlkit.api.sort import undo
    from tlkit.cli.console import ConsoleProgress

    found = undo(journal, dry_run=dry_run, progress=ConsoleProgress())
    if as_json:
        typer.echo(json_text(found.to_json()))
    else:
        _present(found, dry_run=dry_run)
    if found.left:
        raise typer.Exit(Exit.USER)


def _present(found: TakenBack, *, dry_run: bool) -> None:
    files = plural(found.restored, "file")
    if dry_run:
        typer.echo(f"{files} would be taken back")
        return
    folders = f", {plural(found.folders, 'folder')} removed" if found.folders else ""
    typer.echo(f"{files} taken back{folders}")
    for path, reason in found.left[:SHOWN]:
        typer.echo(printable(f"left where it is: {path} ({reason})"))
    if len(found.left) > SHOWN:
        typer.echo(f"and {plural(len(found.left) - SHOWN, 'more file')} (--json lists all)")
