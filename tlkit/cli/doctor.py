"""``tlkit doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Json
from tlkit.jsontext import json_text

if TYPE_CHECKING:
    from tlkit.api.doctor import Diagnosis

_COLOURS = {"works": typer.colors.GREEN, "missing": typer.colors.YELLOW, "broken": typer.colors.RED}


def doctor_command(as_json: Json = False, debug: Debug = False) -> None:
    """Say what works on this machine, and what to do about the rest.

    Example: tlkit doctor
    """
    from tlkit.api.doctor import examine
    from tlkit.cli.console import ConsoleProgress

    found = examine(ConsoleProgress())
    if as_json:
        typer.echo(json_text(found.to_json()))
    else:
        _present(found)


def _present(found: Diagnosis) -> None:
    section = ""
    width = max(len(finding.name) for finding in found.findings)
    for finding in found.findings:
        if finding.section != section:
            typer.secho(finding.section, bold=True)
            section = finding.section
        state = typer.style(f"{finding.state:<7}", fg=_COLOURS[finding.state])
        typer.echo(f"  {state}  {finding.name:<{width}}  {printable(finding.detail)}")
        if finding.advice:
            typer.echo(f"  {'':<7}  {'':<{width}}  -> {printable(finding.advice)}")
    broken = sum(finding.state == "broken" for finding in found.findings)
    verdict = "everything needed works" if found.ok else f"{broken} broken, see ->"
    typer.secho(f"\n{verdict}", bold=True)
