"""``tlkit check``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.exits import Exit, printable
from tlkit.cli.options import Debug, Engine, Json, Seed, Workers
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text

if TYPE_CHECKING:
    from tlkit.images.check import Checked

MAX_SHOWN = 5  # images named a finding on the terminal; --json and --report name all


def check_command(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="The folder, laid out as for training.")],
    suspects: Annotated[
        bool, typer.Option("--suspects/--no-suspects", help="Look for wrong labels too; without, it is much faster.")
    ] = True,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Find wrong labels by this bundle's answers.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 2 if anything was found.")] = False,
    report: Annotated[Path | None, typer.Option(help="Also write all that was found to this CSV file.")] = None,
    engine: Engine = "auto",
    workers: Workers = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find what is wrong with a data set; changes nothing.

    Example: tlkit check ./images
    """
    from tlkit.cli.console import ConsoleProgress

    if report is not None:
        from tlkit.files import check_free

        check_free(report, images)
    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.check import check

    result = check(images, suspects=suspects, model=model, engine=engine, workers=workers, seed=seed, progress=show)
    if report is not None:
        _write(report, result)
    if as_json:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result)
    if strict and not result.ok:
        raise typer.Exit(Exit.USER)


def _present(result: Checked) -> None:
    """A verdict, then what to do, worst first."""
    from rich.text import Text

    from tlkit.cli.console import out

    console = out()
    findings = result.findings()
    verdict = f"{result.images} files in {len(result.classes)} classes: "
    verdict += f"{len(findings)} kinds of problems, worst first" if findings else "nothing wrong found"
    console.print(Text(verdict, style="bold"), soft_wrap=True)
    for finding in findings:
        console.print(
            Text.assemble("\n", (printable(finding.message), "yellow"), "\n  -> ", printable(finding.advice)),
            soft_wrap=True,
        )
        for file, detail in finding.rows[:MAX_SHOWN]:
            console.print(Text(printable(f"     {file}  {detail}".rstrip())), soft_wrap=True)
        if len(finding.rows) > MAX_SHOWN:
            console.print(Text(f"     ... and {len(finding.rows) - MAX_SHOWN} more (--report FILE.csv, --json)"))
    modes = ", ".join(f"{count} {mode}" for mode, count in result.modes.items())
    console.print(Text(f"\ncolour modes: {modes or 'none'}", style="dim"), soft_wrap=True)
    if result.suspects_by:
        console.print(Text(f"wrong labels: {result.suspects_by}", style="dim"), soft_wrap=True)


def _write(report: Path, result: Checked) -> None:
    try:
        with report.open("x", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "problem", "detail"])
            for finding in result.findings():
                for name, detail in finding.rows or [("", finding.message)]:
                    writer.writerow([name, finding.kind, detail])
    except OSError as error:
        raise TlkitError(f"cannot write {report}: {error.strerror or error}") from error
