"""``tlkit export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.bundles import chosen_bundle
from tlkit.cli.declared import choices_of, completion, short
from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Json, Model, Workers
from tlkit.jsontext import json_text
from tlkit.plan.choices import EXPORTS, FP32, PRECISIONS
from tlkit.plan.option import DATA, OUTPUT

if TYPE_CHECKING:
    from rich.table import Table

    from tlkit.api.export.result import Exported


def export_command(
    format: Annotated[
        list[str],
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT[,FORMAT]",
            help=f"Write these formats: {', '.join(EXPORTS)}.",
            rich_help_panel=OUTPUT,
            autocompletion=completion(lambda: EXPORTS),
            show_default=False,
        ),
    ],
    model: Model = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar=choices_of(PRECISIONS),
            help="Hold weights in float32 or float16, or weights and what is computed in 8 bits.",
            rich_help_panel=OUTPUT,
            autocompletion=completion(lambda: PRECISIONS),
        ),
    ] = FP32,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write to this new folder.",
            rich_help_panel=OUTPUT,
            show_default="<bundle>-<format>",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images",
            metavar="IMAGES",
            help="Check the exports on these images; with a folder of classes or a table, compare the accuracy too.",
            rich_help_panel=DATA,
            show_default="the held-out images, if a folder is named like the bundle",
        ),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            "--calibration",
            metavar="IMAGES",
            help="With int8: take the range of values from these images; 64 are enough.",
            rich_help_panel=DATA,
            show_default="training images, if they are found",
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            "--runtime",
            metavar="DIR",
            help="With web: find LiteRT.js in this folder, as npm installs it.",
            rich_help_panel=OUTPUT,
            show_default="node_modules",
        ),
    ] = None,
    workers: Workers = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a bundle for other runtimes, and check that each export answers like predict.

    Example: tlkit export --model garden.tlkit --format onnx
    """
    from tlkit.cli.console import ConsoleProgress

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.export.export import export
        from tlkit.api.export.formats import check_possible, formats_of, precision_of

    check_possible(formats_of(format), precision_of(precision), runtime)
    result = export(
        chosen_bundle(model, show),
        format,
        output=output,
        precision=precision,
        images=_one(images),
        calibration=_one(calibration),
        runtime=runtime,
        workers=workers,
        progress=show,
    )
    if as_json:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result)


def _one(paths: list[Path] | None) -> list[Path] | Path | None:
    """Return a single path as such: only a folder or a table alone has labels."""
    return paths[0] if paths and len(paths) == 1 else paths or None


def _present(result: Exported) -> None:

    from tlkit.cli.console import out, sayer

    console = out()

    say = sayer(console)

    say(f"saved {short(result.folder)}", "bold")
    say(f"checked on {result.images}")
    console.print(_table(result))
    for each in result.files:
        its = each.agreement
        if its is None:
            say(f"{each.format}: converted, not run here", "yellow")
        elif its.paired is not None and (result.precision != FP32 or its.paired.difference):
            low, high = (100 * bound for bound in its.paired.ci95)
            say(
                f"{each.format}: accuracy {its.original_accuracy:.1%} becomes {its.accuracy:.1%}, "
                f"{100 * its.paired.difference:+.1f} points (95% interval {low:+.1f} to {high:+.1f})"
            )


def _table(result: Exported) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("file")
    for name in ("size", "time an image", "largest difference", "same label", "accuracy"):
        table.add_column(name, justify="right")
    agreements = [each.agreement for each in result.files if each.agreement is not None]
    first = agreements[0] if agreements else None
    its = (
        ("", "", "")
        if first is None
        else (f"{first.original_milliseconds:.1f} ms", "", _percent(first.original_accuracy))
    )
    table.add_row("predict", f"{result.original_size / 1e6:.1f} MB", its[0], "", its[1], its[2])
    for each in result.files:
        size, found = f"{each.size / 1e6:.1f} MB", each.agreement
        cells = ("", "", "", "")
        if found is not None:
            cells = (
                f"{found.milliseconds:.1f} ms",
                f"{found.max_difference:.1e}",
                f"{found.same_label:.1%}",
                _percent(found.accuracy),
            )
        table.add_row(Text(printable(each.path.name)), size, *cells)
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
