"""``tlkit backbones``: the catalogue. Plain data, so that it answers at once."""

from __future__ import annotations

import json
from typing import Any

import typer

from tlkit.backbones import catalog
from tlkit.backbones.catalog import Backbone
from tlkit.cli.options import Debug, Json

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


def _row(backbone: Backbone) -> dict[str, Any]:
    if backbone.packaged:
        weights = "packaged"
    else:
        weights = "on this machine" if catalog.cached_path(backbone).is_file() else "download"
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
