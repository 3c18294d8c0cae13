"""``tlkit serve``."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.declared import with_options
from tlkit.cli.exits import Exit, printable
from tlkit.cli.options import Debug, UnknownRate
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.libraries import install_extra, is_installed
from tlkit.plan.option import OUTPUT
from tlkit.serve.options import MIN_TOKEN, ServeOptions
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.serve.models import Models

NEEDED = ("starlette", "uvicorn", "python_multipart", "prometheus_client")
TOKEN = "TLKIT_TOKEN"


@with_options(ServeOptions, "access")
def serve_command(
    access: ServeOptions,
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[BUNDLE]...",
            help="Bundles, each served by its name.",
            show_default="the newest *.tlkit in this folder",
        ),
    ] = None,
    unknown_rate: UnknownRate = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the address as JSON once requests are answered.", rich_help_panel=OUTPUT),
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve bundles as a web page and an HTTP API, on this machine unless told otherwise.

    Example: tlkit serve garden.tlkit --port 8000
    """
    if missing := [name for name in NEEDED if not is_installed(name)]:
        raise TlkitError(f"tlkit serve requires {missing[0]}", install_extra("serve"))
    from tlkit.serve.server import serve

    options = access if access.token is not None else replace(access, token=os.environ.get(TOKEN) or None)

    def started(url: str, models: Models) -> None:
        if as_json:
            shown = {"url": url, "models": models.names, "token": options.token is not None, "pid": os.getpid()}
            print(json_text(shown), flush=True)  # noqa: T201  (a pipe sees it at once)
            return
        for model in models.all():
            print(f"{printable(model.name)}: {plural(len(model.classifier.classes), 'class', 'classes')}")  # noqa: T201
        print(f"serving at {url}; Ctrl-C ends it", flush=True)  # noqa: T201
        for line in _notes(options):
            print(f"note: {line}", file=sys.stderr)  # noqa: T201

    if not serve(bundles or [], options, started, unknown_rate):
        raise typer.Exit(Exit.INTERRUPTED)


def _notes(options: ServeOptions) -> list[str]:
    """What somebody should know who lets others in."""
    if options.token is None:
        return [] if options.is_local else ["everyone who can reach this machine can use it; --token lets in only some"]
    return [] if len(options.token) >= MIN_TOKEN else [f"a token of fewer than {MIN_TOKEN} characters can be guessed"]
