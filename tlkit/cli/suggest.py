"""``tlkit suggest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.declared import choices_of, completion
from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Engine, Json, Model, Seed, Workers
from tlkit.errors import TlkitError
from tlkit.files import write_new
from tlkit.images.table.columns import Columns
from tlkit.jsontext import json_text
from tlkit.plan.option import DATA, OUTPUT
from tlkit.words import plural

if TYPE_CHECKING:
    from rich.table import Table

    from tlkit.api.suggestion import Suggested

WAYS = ("auto", "margin", "diverse", "typical", "random")
MAX_SHOWN = 20  # images listed on the terminal; --output and --json list all


def suggest_command(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="UNLABELLED...", help="Images to label: files, folders, tables of files, or patterns."),
    ],
    model: Model = None,
    n: Annotated[
        int,
        typer.Option("-n", "--number", metavar="N", help="Suggest this many images.", rich_help_panel=DATA),
    ] = 50,
    labelled: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGES",
            help="Labelled images: folder of class folders, or table of files and labels.",
            rich_help_panel=DATA,
            show_default="those that the bundle keeps",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            metavar=choices_of(WAYS),
            help="Choose images that the model is unsure of (margin), that also differ from each other (diverse), that "
            "are typical of groups with few labels (typical), or at random; auto: what won on the labelled images.",
            rich_help_panel=DATA,
            autocompletion=completion(lambda: WAYS),
        ),
    ] = "auto",
    seed: Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.csv",
            help="Write the images to this new file, the most useful first.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    engine: Engine = "auto",
    workers: Workers = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Suggest which images to label next, and try first whether that beats a random draw.

    Example: tlkit suggest unlabelled/ --model photos.tlkit -n 50
    """
    from tlkit.cli.bundles import chosen_bundle
    from tlkit.cli.console import ConsoleProgress

    if output is not None and output.suffix.lower() != ".csv":
        raise TlkitError(f"--output must end in .csv, not '{output.name}'")
    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.places import check_written
        from tlkit.api.suggest import suggest

    check_written(images, Columns(), {"--output": output})
    result = suggest(
        images,
        chosen_bundle(model, show).path,
        n=n,
        labelled=labelled,
        by=by,
        engine=engine,
        workers=workers,
        seed=seed,
        progress=show,
    )
    if output is not None:
        write_new(output, result.to_csv())
    if as_json:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result, output)


def _present(result: Suggested, output: Path | None) -> None:
    from tlkit.cli.console import out, sayer

    console = out()
    say = sayer(console)
    say(result.verdict, "bold")
    if result.prediction is not None:
        say(result.prediction)
    left_out = [f"{result.known:,} that have a label already"] if result.known else []
    left_out += [f"{plural(result.copies, 'copy', 'copies')} of others"] if result.copies else []
    more = f"; left out: {', '.join(left_out)}" if left_out else ""
    say(f"{len(result.suggestions):,} of {plural(result.images, 'unlabelled image')}{more}")
    if result.unknown:
        say(f"{plural(result.unknown, 'image')} unlike the labelled ones: a new class, or not worth a label")
    console.print(_table(result))
    if len(result.suggestions) > MAX_SHOWN:
        where = "" if output is not None else " (--output FILE.csv, --json)"
        say(f"... and {len(result.suggestions) - MAX_SHOWN:,} more{where}")
    for file, reason in result.skipped[:3]:
        say(f"skipped {file}: {reason}")
    if len(result.skipped) > 3:
        say(f"... and {plural(len(result.skipped) - 3, 'more skipped image')} (--json lists all)")
    if output is not None:
        say(f"saved {output}", whole=True)


def _table(result: Suggested) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("file", overflow="fold")
    table.add_column("why", overflow="fold")
    table.add_column("")
    for each in result.suggestions[:MAX_SHOWN]:
        unknown = "unknown" if each.unknown else ""
        table.add_row(str(each.rank), Text(printable(each.file)), Text(printable(each.why)), unknown)
    return table
