"""``tlkit check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.api.table_options import TableOptions
from tlkit.api.train.options import TrainOptions
from tlkit.cli.declared import MODEL, with_options
from tlkit.cli.exits import Exit, printable
from tlkit.cli.options import Debug, Engine, Json, LabelledImages, RawCsv, Seed, Workers
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.plan.option import DATA, OUTPUT, declared
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.images.check import Checked

MAX_SHOWN = 5  # files listed per finding on the terminal; --json and --report list all


@with_options(TableOptions, "table")
def check_command(
    images: LabelledImages,
    table: TableOptions,
    suspects: Annotated[
        bool,
        typer.Option(
            "--suspects/--no-suspects",
            help="Also look for wrong labels. Much faster without.",
            rich_help_panel=DATA,
        ),
    ] = True,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="BUNDLE",
            help="Find wrong labels with this bundle's predictions.",
            rich_help_panel=MODEL,
            show_default="cross-validated probes",
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            "--groups",
            metavar="GROUPS",
            help=declared(TrainOptions)["groups"].option.help,
            rich_help_panel=DATA,
            show_default="looked for",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 2 if anything was found.", rich_help_panel=OUTPUT)
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv|html",
            help="Also write every finding to a CSV file, or a page with the images side by side.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="With --report: read the I-th of N shares, for tlkit merge; auto/N takes I from an array job.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    engine: Engine = "auto",
    workers: Workers = None,
    seed: Seed = 0,
    as_json: Json = False,
    raw_csv: RawCsv = False,
    debug: Debug = False,
) -> None:
    """Find problems in a dataset; changes nothing.

    Example: tlkit check ./images
    """
    from tlkit.cli.console import ConsoleProgress

    if shard is not None:
        if report is None:
            raise TlkitError("--shard requires --report", "for example --report findings.csv")
        if strict:
            raise TlkitError("--strict does not apply to --shard", "problems are found by tlkit merge")
    elif report is not None:
        from tlkit.api.check_report import check_report_name
        from tlkit.api.places import check_written

        check_report_name(report)
        check_written(images, table.columns, {"--report": report})
    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.check import check

    asked: dict[str, Any] = {
        "suspects": suspects,
        "model": model,
        "groups": groups,
        "engine": engine,
        "workers": workers,
        "seed": seed,
        "progress": show,
        **table.given(),
    }
    if shard is not None and report is not None:
        from tlkit.api.check_parts import check_part

        part = check_part(images, report, shard, **asked)
        if as_json:
            typer.echo(json_text(part.to_json()))
        else:
            typer.echo(f"share {part.shard}: {plural(part.images, 'file')} read")
            typer.echo(printable(f"saved {part.output} in {part.seconds:.0f} s; tlkit merge says what was found"))
        return
    result = check(images, **asked)
    if report is not None:
        from tlkit.api.check_report import report_text
        from tlkit.files import write_new

        write_new(report, report_text(result, report, raw=raw_csv))
    if as_json:
        typer.echo(json_text(result.to_json()))
    else:
        present(result)
    if strict and not result.ok:
        raise typer.Exit(Exit.USER)


def present(result: Checked) -> None:
    """Print a verdict, then each problem and what to do about it, worst first."""
    from rich.text import Text

    from tlkit.cli.console import out, sayer

    console = out()
    say, wraps = sayer(console), not console.is_terminal
    findings = result.findings()
    verdict = f"{plural(result.images, 'file')} in {plural(len(result.classes), 'class', 'classes')}: "
    verdict += f"{plural(len(findings), 'kind')} of problems, worst first" if findings else "no problems found"
    say(verdict, "bold")
    for finding in findings:
        console.print(
            Text.assemble("\n", (printable(finding.message), "yellow"), "\n  -> ", printable(finding.advice)),
            soft_wrap=wraps,
        )
        for file, detail in finding.rows[:MAX_SHOWN]:
            say(f"     {file}  {detail}".rstrip(), whole=True)
        if len(finding.rows) > MAX_SHOWN:
            console.print(Text(f"     ... and {len(finding.rows) - MAX_SHOWN} more (--report FILE.csv, --json)"))
    modes = ", ".join(f"{count} {mode}" for mode, count in result.modes.items())
    say("")
    say(f"colour modes: {modes or 'none'}", "dim")
    if result.groups is not None and result.groups.asked:
        say(f"groups: {result.groups.compared}")
    if result.suspects_by:
        say(f"wrong labels: {result.suspects_by}", "dim")
