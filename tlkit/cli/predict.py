"""``tlkit predict``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.api.table_options import FileOptions
from tlkit.cli.bundles import chosen_bundle
from tlkit.cli.declared import choices_of, with_options
from tlkit.cli.exits import Exit, printable
from tlkit.cli.options import Debug, Engine, Images, Json, Model, RawCsv, Tta, UnknownRate, Workers
from tlkit.csvtext import line
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT

if TYPE_CHECKING:
    from tlkit.api.predict import Prediction


class Format(str, Enum):
    """Output formats."""

    table = "table"
    csv = "csv"
    json = "json"


@with_options(FileOptions, "table")
def predict_command(
    images: Images,
    table: FileOptions,
    model: Model = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar=choices_of(Format.__members__),
            help="Output format.",
            rich_help_panel=OUTPUT,
            show_default="table on a terminal, csv otherwise",
        ),
    ] = None,
    as_json: Json = False,
    raw_csv: RawCsv = False,
    unknown_rate: UnknownRate = None,
    tta: Tta = False,
    engine: Engine = "auto",
    workers: Workers = None,
    debug: Debug = False,
) -> None:
    """Label images with a trained bundle.

    Example: tlkit predict photos/ --model garden.tlkit
    """
    from tlkit.cli.console import ConsoleProgress

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.predict import predict_iter

    bundle = chosen_bundle(model, show)
    terminal = sys.stdout.isatty()
    # on a terminal the rows themselves show progress, and a bar would get in their way
    rows = predict_iter(
        images,
        bundle,
        unknown_rate=unknown_rate,
        tta=tta,
        engine=engine,
        workers=workers,
        progress=None if terminal else show,
        **table.given(),
    )
    chosen = Format.json if as_json else form or (Format.table if terminal else Format.csv)
    show_rows: dict[Format, Callable[[Iterable[Prediction]], int]] = {
        Format.table: _table,
        Format.csv: partial(_csv, raw=raw_csv),
        Format.json: _json,
    }
    if not show_rows[chosen](rows):
        raise typer.Exit(Exit.USER)


def _json(rows: Iterable[Prediction]) -> int:
    labelled = 0
    for row in rows:
        print(json_text(row.to_json()), flush=True)  # noqa: T201  (streams: a pipe sees each row at once)
        labelled += row.error is None
    return labelled


def _csv(rows: Iterable[Prediction], *, raw: bool = False) -> int:
    labelled = 0
    for number, row in enumerate(rows):
        if number == 0:  # not earlier: on an error stdout must stay empty
            sys.stdout.write(line(["file", "label", "probability", "unknown", "error"]))
        probability = "" if row.probability is None else f"{row.probability:.6f}"
        unknown = "" if row.unknown is None else str(row.unknown).lower()
        sys.stdout.write(line([row.file, row.label or "", probability, unknown, row.error or ""], raw=raw))
        sys.stdout.flush()  # streams: a pipe sees each row at once
        labelled += row.error is None
    return labelled


def _table(rows: Iterable[Prediction]) -> int:
    """Print one line per image as soon as it is predicted, with the file name last, as it may be long."""
    from rich.text import Text

    from tlkit.cli.console import out

    console, labelled, width = out(), 0, 0
    for row in rows:
        if not width:
            width = max([5, *(len(label) for label, _ in row.top)])
            heading = f"{'label':<{width}}  probability  {'next best':<{width + 5}}  file"
            console.print(Text(heading, style="bold"), soft_wrap=True)
        if row.error is not None:
            line = Text.assemble((f"{'-':<{width}}  {row.error}", "red"), f"  {printable(row.file)}")
        else:
            label, probability = row.top[1] if len(row.top) > 1 else ("", 0.0)
            first = f"{printable(str(row.label)):<{width}}"
            second = f"{printable(label)} {probability:.0%}"
            unknown = ("unknown? ", "yellow") if row.unknown else ("", "")
            rest = f"  {row.probability:>11.1%}  {second:<{width + 5}}  "
            line = Text.assemble((first, "green"), rest, unknown, printable(row.file))
            labelled += 1
        console.print(line, soft_wrap=True)
    return labelled
