"""``tlkit explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.cli.bundles import chosen_bundle
from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Json, Model
from tlkit.jsontext import json_text


def explain_command(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Files, folders, patterns such as 'photos/*.jpg'.")
    ],
    model: Model = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="A new folder; default: explained, explained-2."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="The class to look for; default: each one's answer.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option("--feature-maps", metavar="STAGE", help="Also draw a stage's maps, such as stage3.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show where in images a bundle sees a class (Grad-CAM), and a contact sheet.

    Example: tlkit explain photos/ --model garden.tlkit
    """
    from tlkit.cli.console import ConsoleProgress, out

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.explain import SHEET, explain

    bundle = chosen_bundle(model, show)
    rows = explain(images, bundle, output=output, label=label, stage=stage, progress=show)
    if as_json:
        typer.echo(json_text([row.to_json() for row in rows]))
        return
    console = out()
    drawn = [row.overlay for row in rows if row.overlay is not None]
    for row in rows:
        said = row.error if row.overlay is None else f"{row.label} {row.probability:.1%}  {row.overlay}"
        console.print(printable(f"{row.file}: {said}"), markup=False, soft_wrap=True)
    console.print(printable(f"all of them: {drawn[0].parent / SHEET}"), markup=False, soft_wrap=True)
