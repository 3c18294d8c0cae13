"""The Typer application: one module per command; importing them loads nothing heavy."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tlkit.cli.backbones import backbones
from tlkit.cli.cache import cache_command
from tlkit.cli.check import check_command
from tlkit.cli.compare import compare_command
from tlkit.cli.declared import GroupedCommand
from tlkit.cli.doctor import doctor_command
from tlkit.cli.embed import embed_command
from tlkit.cli.evaluate import evaluate_command
from tlkit.cli.exits import enable_debug, guarded
from tlkit.cli.explain import explain_command
from tlkit.cli.export import export_command
from tlkit.cli.features import features_command
from tlkit.cli.merge import merge_command
from tlkit.cli.predict import predict_command
from tlkit.cli.recommend import recommend_command
from tlkit.cli.review import review_command
from tlkit.cli.serve import serve_command
from tlkit.cli.suggest import suggest_command
from tlkit.cli.train import train_command
from tlkit.cli.undo import undo_command

app = typer.Typer(
    name="tlkit",
    help="Turn a folder of photographs into a good image classifier.\n\nExample: tlkit train ./images",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", cls=GroupedCommand)(train_command)
app.command("recommend", cls=GroupedCommand)(recommend_command)
app.command("check", cls=GroupedCommand)(check_command)
app.command("review", cls=GroupedCommand)(review_command)
app.command("predict", cls=GroupedCommand)(predict_command)
app.command("evaluate", cls=GroupedCommand)(evaluate_command)
app.command("compare", cls=GroupedCommand)(compare_command)
app.command("suggest", cls=GroupedCommand)(suggest_command)
app.command("explain", cls=GroupedCommand)(explain_command)
app.command("merge", cls=GroupedCommand)(merge_command)
app.command("undo", cls=GroupedCommand)(undo_command)
app.command("embed", cls=GroupedCommand)(embed_command)
app.command("features", cls=GroupedCommand)(features_command)
app.command("export", cls=GroupedCommand)(export_command)
app.command("serve", cls=GroupedCommand)(serve_command)
app.add_typer(backbones, name="backbones")
app.command("cache", cls=GroupedCommand)(cache_command)
app.command("doctor", cls=GroupedCommand)(doctor_command)


def _version(value: bool) -> bool:
    if value:
        from tlkit import __version__

        typer.echo(f"tlkit {__version__}")
        raise typer.Exit()
    return value


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", callback=enable_debug, help="Show tracebacks.")] = False,
) -> None:
    """Options that come before the command."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: Arguments without the program's name; None: ``sys.argv``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names may contain what the terminal cannot show
    if len(arguments) == 2 and arguments[0] in ("--show-completion", "--install-completion"):
        # only so does Typer take the shell that is named, and not the one that it runs in
        os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    return guarded(lambda: app(args=arguments or ["--help"], prog_name="tlkit", standalone_mode=False))
