"""``tlkit embed``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.api.table_options import FileOptions
from tlkit.cli.declared import MODEL, completion, with_options
from tlkit.cli.exits import printable
from tlkit.cli.options import (
    Backbone,
    Debug,
    Engine,
    Images,
    ImageSize,
    Json,
    Preprocessing,
    RawCsv,
    Shard,
    Weights,
    Workers,
)
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.embed.file import Embedded


@with_options(FileOptions, "table")
def embed_command(
    images: Images,
    table: FileOptions,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to this new file, which must end in .parquet, .npz or .csv.",
            rich_help_panel=OUTPUT,
        ),
    ],
    shard: Shard = None,
    backbone: Backbone = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", metavar="BUNDLE", help="Use the network of this bundle.", rich_help_panel=MODEL),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="[top|STAGE|all]",
            help="Take features from this stage, such as stage3 (tlkit backbones show lists them), or from all.",
            rich_help_panel=MODEL,
            autocompletion=completion(lambda: ("top", "all")),
            show_default="what the head sees",
        ),
    ] = None,
    weights: Weights = None,
    preprocessing: Preprocessing = None,
    image_size: ImageSize = None,
    engine: Engine = "auto",
    workers: Workers = None,
    as_json: Json = False,
    raw_csv: RawCsv = False,
    debug: Debug = False,
) -> None:
    """Write one feature vector per image, for search, clustering or classifiers of your own.

    Example: tlkit embed photos/ --output vectors.npz
    """
    from tlkit.cli.console import ConsoleProgress

    # Arrow's own allocator grabs 32 MiB at a time; Arrow reads this variable once, when it is imported
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.embed.file import embed_file

    result = embed_file(
        images,
        output,
        backbone=backbone,
        model=model,
        stage=stage,
        weights=weights,
        image_size=image_size,
        preprocessing=preprocessing,
        shard=shard,
        engine=engine,
        workers=workers,
        raw_csv=raw_csv,
        progress=show,
        **table.given(),
    )
    if as_json:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result)


def _present(result: Embedded) -> None:
    network = result.backbone if result.model is None else result.model
    vectors = f"{plural(result.images, 'vector')} of {result.dimensions} numbers"
    typer.echo(printable(f"{vectors}, features of {network} ({result.stage})"))
    skipped = f", {plural(len(result.skipped), 'image')} skipped" if result.skipped else ""
    typer.echo(printable(f"saved {result.output} in {result.seconds:.0f} s{skipped}"))
