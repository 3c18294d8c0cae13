"""``tlkit doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Json
from tlkit.jsontext import json_text
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.doctor import Diagnosis
    from tlkit.api.machine import Speed

_STATES = {
    "works": ("works", typer.colors.GREEN),
    "missing": ("optional", typer.colors.YELLOW),  # not needed by default
    "broken": ("broken", typer.colors.RED),
}


def doctor_command(
    benchmark: Annotated[
        bool,
        typer.Option(
            "--benchmark",
            help="Also measure how fast this machine decodes photos, runs and trains the default network and solves a "
            "head, by each engine; about half a minute.",
        ),
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check what works on this machine, and say how to fix the rest.

    Example: tlkit doctor
    """
    from tlkit.api.doctor import examine
    from tlkit.cli.console import ConsoleProgress

    show = ConsoleProgress()
    found, speeds = examine(show), []
    if benchmark:
        from tlkit.api.machine import benchmark as measured

        speeds = measured(show)
    if as_json:
        more = {"benchmark": [each.to_json() for each in speeds]} if benchmark else {}
        typer.echo(json_text({**found.to_json(), **more}))
        return
    _present(found)
    if benchmark:
        _present_speeds(speeds)


def _present_speeds(speeds: list[Speed]) -> None:
    from rich.table import Table
    from rich.text import Text

    from tlkit.cli.console import out

    table = Table(box=None, pad_edge=False)
    table.add_column("speed")
    table.add_column("by")
    table.add_column("images a second", justify="right")
    table.add_column("time", justify="right")
    table.add_column("of", overflow="fold")
    for each in speeds:
        time = f"{1000 * each.seconds:,.0f} ms for {each.images:,}"
        table.add_row(each.work, each.engine, f"{each.images_per_second:,.0f}", time, Text(each.detail))
    typer.echo("")
    out().print(table)


def _present(found: Diagnosis) -> None:
    section = ""
    width = max((len(finding.name) for finding in found.findings), default=0)
    for finding in found.findings:
        if finding.section != section:
            typer.secho(finding.section, bold=True)
            section = finding.section
        word, colour = _STATES[finding.state]
        typer.echo(f"  {typer.style(f'{word:<8}', fg=colour)}  {finding.name:<{width}}  {printable(finding.detail)}")
        if finding.advice:
            typer.echo(f"  {'':<8}  {'':<{width}}  -> {printable(finding.advice)}")
    broken = sum(finding.state == "broken" for finding in found.findings)
    verdict = "everything required works" if found.ok else f"{plural(broken, 'problem')}: see the lines marked broken"
    typer.secho(f"\n{verdict}", bold=True)
