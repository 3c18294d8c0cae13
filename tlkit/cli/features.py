"""``tlkit features``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.api.table_options import FileOptions
from tlkit.cli.declared import with_options
from tlkit.cli.exits import printable
from tlkit.cli.options import Backbone, Debug, Engine, Images, ImageSize, Json, Preprocessing, Shard, Weights, Workers
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.features import Kept


@with_options(FileOptions, "table")
def features_command(
    images: Images,
    table: FileOptions,
    shard: Shard = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="NAME",
            help="With --shard: also write the features to a part beside NAME, for tlkit merge on another machine.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    backbone: Backbone = None,
    weights: Weights = None,
    preprocessing: Preprocessing = None,
    image_size: ImageSize = None,
    engine: Engine = "auto",
    workers: Workers = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compute features ahead of train and keep them in the cache; the same command again goes on.

    Example: tlkit features ./images --shard 1/4
    """
    from tlkit.cli.console import ConsoleProgress

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.features import features

    result = features(
        images,
        output,
        shard=shard,
        backbone=backbone,
        weights=weights,
        image_size=image_size,
        preprocessing=preprocessing,
        engine=engine,
        workers=workers,
        progress=show,
        **table.given(),
    )
    if as_json:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result)


def _present(result: Kept) -> None:
    part = f"share {result.shard}: " if result.shard else ""
    earlier = f", {result.reused:,} of them from an earlier run" if result.reused else ""
    typer.echo(f"{part}features of {plural(result.images, 'image')} by {result.backbone}{earlier}")
    for file, reason in result.skipped[:5]:
        typer.echo(printable(f"skipped {file}: {reason}"))
    if len(result.skipped) > 5:
        typer.echo(f"and {plural(len(result.skipped) - 5, 'more file')} (--json lists all)")
    typer.echo(printable(f"kept in {result.folder} ({result.seconds:.0f} s)"))
    if result.output is not None:
        typer.echo(printable(f"saved {result.output}"))
