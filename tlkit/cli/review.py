"""``tlkit review``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.api.table_options import TableOptions
from tlkit.cli.declared import MODEL, with_options
from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Json, LabelledImages, Seed, Workers
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.libraries import install_extra, is_installed
from tlkit.plan.option import DATA, OUTPUT
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.review_apply import Applied

NEEDED = ("starlette", "uvicorn", "prometheus_client")


@with_options(TableOptions, "table")
def review_command(
    images: LabelledImages,
    table: TableOptions,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="BUNDLE",
            help="Find wrong labels and unknown images with this bundle.",
            rich_help_panel=MODEL,
            show_default="cross-validated probes",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show all images, after those in doubt.", rich_help_panel=DATA)
    ] = False,
    merge: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="First merge another person's decisions or labels table. May be repeated.",
            rich_help_panel=DATA,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.csv",
            help="Write the labels table here.",
            rich_help_panel=OUTPUT,
            show_default="NAME-labels.csv",
        ),
    ] = None,
    move: Annotated[
        bool,
        typer.Option(
            "--move", help="Instead of a table, move files to the folders of their classes.", rich_help_panel=OUTPUT
        ),
    ] = False,
    decisions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Keep the decisions here; another review goes on with them.",
            rich_help_panel=OUTPUT,
            show_default="NAME.review.jsonl",
        ),
    ] = None,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Apply the decisions so far, without a page.", rich_help_panel=OUTPUT),
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="Listen on this port of 127.0.0.1; 0: any free one.",
            rich_help_panel=OUTPUT,
        ),
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the page.", rich_help_panel=OUTPUT)
    ] = False,
    workers: Workers = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Look at doubtful labels on a local page, and correct them by keyboard.

    Example: tlkit review ./images --model flowers.tlkit
    """
    if missing := [name for name in NEEDED if not is_installed(name)]:
        raise TlkitError(f"tlkit review requires {missing[0]}", install_extra("serve"))
    if move and output is not None:
        raise TlkitError("--output does not apply to --move", "files are moved, and no table is written")
    from tlkit.cli.console import ConsoleProgress

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.serve.review import review

    def started(url: str) -> None:
        show.note(f"review at {url} ; end it with d on the page, or Ctrl-C")

    applied = review(
        images,
        model,
        output=output,
        decisions=decisions,
        move=move,
        merge=merge or [],
        every=every,
        apply=apply,
        port=port,
        browser=not no_browser,
        started=started,
        workers=workers,
        seed=seed,
        progress=show,
        **table.given(),
    )
    if as_json:
        typer.echo(json_text(None if applied is None else applied.to_json()))
    else:
        _present(applied)


def _present(applied: Applied | None) -> None:
    if applied is None:
        typer.echo("nothing was applied; the decisions are kept")
        return
    typer.echo(
        f"{applied.relabelled} relabelled, {applied.excluded} excluded, {plural(applied.kept, 'image')} as before"
    )
    if applied.output is not None:
        typer.echo(printable(f"written to {applied.output}"))
    for journal in applied.journals:
        typer.echo(printable(f"to take it back: tlkit undo {journal}"))
    for file, reason in applied.stayed:
        typer.echo(printable(f"not moved: {file} ({reason})"))
    for file in applied.conflicts:
        typer.echo(printable(f"in conflict, as before: {file}"))
