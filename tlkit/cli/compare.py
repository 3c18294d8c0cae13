"""``tlkit compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.api.table_options import TableOptions
from tlkit.cli.declared import choices_of, completion, with_options
from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Engine, Json, Seed, Workers
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.plan.choices import AUTO, SPLITS
from tlkit.plan.option import DATA, OUTPUT
from tlkit.words import plural

if TYPE_CHECKING:
    from rich.table import Table

    from tlkit.api.comparison import Comparison

MAX_SHOWN = 5  # images listed on the terminal; --json lists all

NAME_OF = {"a": "A", "b": "B", None: ""}


@with_options(TableOptions, "table")
def compare_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A bundle.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another bundle.")],
    table: TableOptions,
    images: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGES",
            help="Folder of class folders, or table of files and labels, that neither was trained on.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            metavar=choices_of(SPLITS),
            help="Use this part of a folder with train/, val/ or test/; auto: test/, else val/, else everything.",
            rich_help_panel=DATA,
            autocompletion=completion(lambda: SPLITS),
        ),
    ] = AUTO,
    seed: Seed = 0,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Also draw the images that the two label differently.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    engine: Engine = "auto",
    workers: Workers = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two bundles on the same labelled images: which is better, by how much, and is it more than chance?

    Example: tlkit compare old.tlkit new.tlkit ./test
    """
    from tlkit.cli.console import ConsoleProgress

    if sheet is not None and sheet.suffix.lower() not in (".png", ".jpg", ".webp"):
        raise TlkitError(f"--sheet must end in .png, .jpg or .webp, not '{sheet.name}'")
    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.compare import compare, sheet_of_disagreements
        from tlkit.api.places import check_written

    check_written(images or [], table.columns, {"--sheet": sheet})
    result = compare(
        a, b, images, split=split, engine=engine, workers=workers, seed=seed, progress=show, **table.given()
    )
    drawn = None if sheet is None else sheet_of_disagreements(result, sheet)
    if as_json:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result)
    if drawn == 0:
        show.note(f"{sheet} is not written: there is no image to show")


def _present(result: Comparison) -> None:

    from tlkit.cli.console import out, sayer

    console, its = out(), result.paired

    say = sayer(console)

    say(result.verdict, "bold")
    for line in result.warnings:
        say(f"warning: {line}", "yellow")
    for name, side in (("A", result.a), ("B", result.b)):
        say(f"{name}: {side.model}, {side.backbone} at {side.input_size[0]} px, {side.strategy}")
    console.print(_sides(result))
    say(
        f"both right {its.both:,}, only A right {its.only_a:,}, only B right {its.only_b:,}, both wrong "
        f"{its.neither:,} (McNemar's exact test: p = {its.p_value:.2g})"
    )
    low, high = result.log_loss_ci95
    if low > 0 or high < 0:
        change = f"{result.log_loss_difference:+.3f} ({low:+.3f} to {high:+.3f})"
        say(f"log loss, B minus A: {change}: {'B' if high < 0 else 'A'} is surer of the right class")
    console.print(_classes(result))
    for each in result.disagreements[:MAX_SHOWN]:
        say(f"{each.file}  A: {each.a} {each.probability_a:.0%}  B: {each.b} {each.probability_b:.0%}", "dim")
    if len(result.disagreements) > MAX_SHOWN:
        more = len(result.disagreements) - MAX_SHOWN
        say(f"... and {more} more that they label differently (--sheet FILE.png, --json)", "dim")
    for file, reason in result.skipped[:3]:
        say(f"skipped {file}: {reason}")
    if len(result.skipped) > 3:
        say(f"... and {plural(len(result.skipped) - 3, 'more skipped image')} (--json lists all)")


def _sides(result: Comparison) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("accuracy", "95% interval", "log loss", "time an image", "size"):
        table.add_column(name, justify="right")
    for name, its in (("A", result.a), ("B", result.b)):
        low, high = its.metrics.accuracy_ci95
        figures = (f"{its.metrics.accuracy:.1%}", f"{low:.0%} to {high:.0%}", f"{its.metrics.log_loss:.3f}")
        cost = (f"{its.milliseconds:.1f} ms", f"{its.size / 1e6:.1f} MB")
        table.add_row(name, *figures, *cost)
    return table


def _classes(result: Comparison) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for name in ("images", "recall of A", "recall of B", "only A", "only B", "better"):
        table.add_column(name, justify="right")
    for each in result.per_class:
        its = each.paired
        recalls = [f"{(its.both + own) / its.images:.1%}" for own in (its.only_a, its.only_b)]
        counts = (f"{its.images:,}", *recalls, f"{its.only_a:,}", f"{its.only_b:,}")
        table.add_row(Text(printable(each.name)), *counts, NAME_OF[each.better])
    return table
