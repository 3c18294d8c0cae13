"""``tlkit doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Json
from tlkit.jsontext import json_text
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.doctor import Diagnosis

_STATES = {
    "works": ("works", typer.colors.GREEN),
    "missing": ("optional", typer.colors.YELLOW),  # not needed by default
    "broken": ("broken", typer.colors.RED),
}


def doctor_command(as_json: Json = False, debug: Debug = False) -> None:
    """Check what works on this machine, and say how to fix the rest.

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
        word, colour = _STATES[finding.state]
        typer.echo(f"  {typer.style(f'{word:<8}', fg=colour)}  {finding.name:<{width}}  {printable(finding.detail)}")
        if finding.advice:
            typer.echo(f"  {'':<8}  {'':<{width}}  -> {printable(finding.advice)}")
    broken = sum(finding.state == "broken" for finding in found.findings)
    verdict = "everything required works" if found.ok else f"{plural(broken, 'problem')}: see the lines marked broken"
    typer.secho(f"\n{verdict}", bold=True)
