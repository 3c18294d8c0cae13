"""``tlkit merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Json, RawCsv
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT
from tlkit.words import plural


def merge_command(
    parts: Annotated[
        list[Path], typer.Argument(metavar="PARTS...", help="Parts that predict --shard wrote, or folders of them.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to this new file, which must end in .csv, .jsonl or .parquet.",
            rich_help_panel=OUTPUT,
        ),
    ],
    as_json: Json = False,
    raw_csv: RawCsv = False,
    debug: Debug = False,
) -> None:
    """Put the parts of predict --shard together: the same file as without shards.

    Example: tlkit merge labels.csv.part-* --output labels.csv
    """
    from tlkit.api.merge import merge
    from tlkit.cli.console import ConsoleProgress

    found = merge(parts, output, raw_csv=raw_csv, progress=ConsoleProgress())
    if as_json:
        typer.echo(json_text(found.to_json()))
    else:
        typer.echo(str(found.counts))
        typer.echo(printable(f"saved {found.output} from {plural(found.parts, 'part')}"))
