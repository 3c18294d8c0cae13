"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.backbones import catalog
from tlkit.cli.declared import MODEL, choices_of, completion
from tlkit.cli.exits import enable_debug
from tlkit.plan.choices import ENGINES, PREPROCESSING, WEIGHTS
from tlkit.plan.option import DATA, MACHINE, OUTPUT

Debug = Annotated[
    bool, typer.Option("--debug", callback=enable_debug, help="Show tracebacks.", rich_help_panel=MACHINE)
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON, and nothing else on stdout.", rich_help_panel=OUTPUT),
]
Images = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGES...",
        help="Files, folders, tables of files, patterns such as 'photos/*.jpg', or s3://bucket/folder.",
    ),
]
LabelledImages = Annotated[
    Path,
    typer.Argument(metavar="IMAGES", help="Folder of class folders, or table of files and labels, as for training."),
]
Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        metavar="BUNDLE",
        help="Use this bundle.",
        rich_help_panel=MODEL,
        show_default="the newest *.tlkit in this folder",
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="[NAME|FILE.keras]",
        help="Use this network of Keras Applications, or a .keras file of your own.",
        rich_help_panel=MODEL,
        autocompletion=completion(catalog.names),
        show_default=catalog.DEFAULT,
    ),
]
BackboneName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Network, in any unambiguous spelling, or a .keras file.",
        autocompletion=completion(catalog.names),
    ),
]
BackboneNames = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...", help="Networks, in any unambiguous spelling.", autocompletion=completion(catalog.names)
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar=choices_of(WEIGHTS, "FILE"),
        help="Fill the backbone with ImageNet's weights, with none (random), or from a weights file.",
        rich_help_panel=MODEL,
        autocompletion=completion(lambda: WEIGHTS),
        show_default=WEIGHTS[0],
    ),
]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        metavar=choices_of(PREPROCESSING),
        help="With --backbone FILE.keras: scale pixels as the network expects them.",
        rich_help_panel=MODEL,
        autocompletion=completion(lambda: PREPROCESSING),
        show_default="what the file begins with",
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Resize images to squares of this many pixels a side.",
        rich_help_panel=MODEL,
        show_default="the backbone's own",
    ),
]
Tta = Annotated[
    bool,
    typer.Option(
        "--tta",
        help="Average over each image and its mirror image; requires that training found mirroring harmless.",
        rich_help_panel=MODEL,
    ),
]
UnknownRate = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        help="Flag this share of images of known classes as unknown.",
        rich_help_panel=MODEL,
        show_default="as set in training",
    ),
]
RawCsv = Annotated[
    bool,
    typer.Option(
        "--raw-csv",
        help="In CSV, leave cells that begin like a formula as they are.",
        rich_help_panel=OUTPUT,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Do the I-th of N shares, for tlkit merge; auto/N takes I from an array job.",
        rich_help_panel=OUTPUT,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar=choices_of(ENGINES),
        help="Run the network with LiteRT or Keras; auto: LiteRT on a CPU, Keras on a GPU or where LiteRT is missing.",
        rich_help_panel=MACHINE,
        autocompletion=completion(lambda: ENGINES),
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Use this many threads to read images, and cores to compute.",
        rich_help_panel=MACHINE,
        show_default="all",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="Set the random seed: the same seed, machine and images give the same result.",
        rich_help_panel=DATA,
    ),
]
