"""``tlkit embed``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Engine, ImageSize, Json, Preprocessing, Workers
from tlkit.jsontext import json_text

if TYPE_CHECKING:
    from tlkit.api.embed.embed import Embedded


def embed_command(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Files, folders, patterns such as 'photos/*.jpg'.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="A new file that ends in .parquet, .npz or .csv."),
    ],
    backbone: Annotated[
        str | None, typer.Option(help="A Keras Applications network, or a .keras file; default: the embedded one.")
    ] = None,
    model: Annotated[Path | None, typer.Option("--model", "-m", help="Take the network of this bundle.")] = None,
    stage: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="top, stage3 (see tlkit backbones show), all; default: what the head sees."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="imagenet|none|FILE", help="Of the backbone; default: imagenet.")
    ] = None,
    preprocessing: Preprocessing = None,
    image_size: ImageSize = None,
    engine: Engine = "auto",
    workers: Workers = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one vector per image, for search, clustering or classifiers of your own.

    Example: tlkit embed photos/ --output vectors.npz
    """
    from tlkit.cli.console import ConsoleProgress

    # Arrow's own allocator takes 32 MiB at a time, by chance one more or less; it asks once, when it is imported
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.embed.embed import embed_file

    result = embed_file(
        images,
        output,
        backbone=backbone,
        model=model,
        stage=stage,
        weights=weights,
        image_size=image_size,
        preprocessing=preprocessing,
        engine=engine,
        workers=workers,
        progress=show,
    )
    if as_json:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result)


def _present(result: Embedded) -> None:
    whose = result.backbone if result.model is None else result.model
    typer.echo(f"{result.images} vectors of {result.dimensions} numbers, {result.stage} of {printable(str(whose))}")
    skipped = f", {len(result.skipped)} images skipped" if result.skipped else ""
    typer.echo(printable(f"saved {result.output} in {result.seconds:.0f} s{skipped}"))
