"""``tlkit explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.api.table_options import FileOptions
from tlkit.cli.bundles import chosen_bundle
from tlkit.cli.declared import MODEL, with_options
from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Images, Json, Model
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT


@with_options(FileOptions, "table")
def explain_command(
    images: Images,
    table: FileOptions,
    model: Model = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write to this new folder.",
            rich_help_panel=OUTPUT,
            show_default="explained, explained-2",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Show where this class is seen.",
            rich_help_panel=MODEL,
            show_default="each image's predicted class",
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            "--feature-maps",
            metavar="STAGE",
            help="Also draw the feature maps of this stage, such as stage3.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw where in each image a bundle sees a class (Grad-CAM), and a contact sheet.

    Example: tlkit explain photos/ --model garden.tlkit
    """
    from tlkit.cli.console import ConsoleProgress, out

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.explain import SHEET, explain

    bundle = chosen_bundle(model, show)
    rows = explain(images, bundle, output=output, label=label, stage=stage, progress=show, **table.given())
    if as_json:
        typer.echo(json_text([row.to_json() for row in rows]))
        return
    console = out()
    drawn = [row.overlay for row in rows if row.overlay is not None]
    for row in rows:
        result = row.error if row.overlay is None else f"{row.label} {row.probability:.1%}  {row.overlay}"
        console.print(printable(f"{row.file}: {result}"), markup=False, soft_wrap=True)
    console.print(printable(f"contact sheet: {drawn[0].parent / SHEET}"), markup=False, soft_wrap=True)
