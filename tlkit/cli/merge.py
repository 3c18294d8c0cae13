"""``tlkit merge``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.exits import Exit, printable
from tlkit.cli.options import Debug, Json, RawCsv, Workers
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.merge import Merged


def merge_command(
    parts: Annotated[
        list[Path], typer.Argument(metavar="PARTS...", help="Parts that --shard wrote, or folders of them.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to this new file, named as for predict or embed; of check, every finding as CSV.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Of check: exit with code 2 if anything was found.", rich_help_panel=OUTPUT),
    ] = False,
    as_json: Json = False,
    raw_csv: RawCsv = False,
    workers: Workers = None,
    debug: Debug = False,
) -> None:
    """Put the parts of --shard together: the same as without shards. Parts of features go into the cache.

    Example: tlkit merge labels.csv.part-* --output labels.csv
    """
    from tlkit.api.merge import merge
    from tlkit.cli.console import ConsoleProgress

    found = merge(parts, output, raw_csv=raw_csv, workers=workers, progress=ConsoleProgress())
    if as_json:
        typer.echo(json_text(found.to_json()))
    else:
        _present(found)
    if strict and found.checked is not None and not found.checked.ok:
        raise typer.Exit(Exit.USER)


def _present(found: Merged) -> None:
    from_parts = f"from {plural(found.parts, 'part')}"
    if found.checked is not None:
        from tlkit.cli.check import present

        present(found.checked)
    elif found.counts is not None:
        typer.echo(str(found.counts))
    else:
        skipped = f", {plural(len(found.skipped), 'image')} skipped" if found.skipped else ""
        typer.echo(f"{plural(found.images - len(found.skipped), 'vector')} {from_parts}{skipped}")
        for file, reason in found.skipped[:5]:
            typer.echo(printable(f"skipped {file}: {reason}"))
    if found.output is not None:
        typer.echo(printable(f"saved {found.output} {from_parts}"))
