"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.cli.exits import enable_debug

Debug = Annotated[bool, typer.Option("--debug", callback=enable_debug, help="Show tracebacks.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else on stdout.")]
Model = Annotated[
    Path | None, typer.Option("--model", "-m", help="The bundle; default: the newest *.tlkit in this folder.")
]
Engine = Annotated[
    str, typer.Option(help="auto: LiteRT on a CPU, Keras on a GPU or where LiteRT is missing; litert; keras.")
]
Tta = Annotated[
    bool,
    typer.Option("--tta", help="Mean over each image and its mirror image, where training found that harmless."),
]
UnknownRate = Annotated[
    float | None,
    typer.Option(
        help="Share of images of known classes that may be called unknown.",
        show_default="as the bundle was trained with",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads to read and cores to compute with; default: all.")]
Backbone = Annotated[
    str,
    typer.Option(
        help="A Keras Applications network, the embedded default, a .keras file of your own, or auto: compare those on "
        "this machine."
    ),
]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="With --backbone FILE.keras, what it takes: included, scale-0-1, tf (-1..1), torch, caffe or lite.",
        show_default="what the file begins with",
    ),
]
MaxParams = Annotated[
    str | None, typer.Option(metavar="N", help="With --backbone auto: parameters at most, such as 5M.")
]
MaxLatency = Annotated[
    float | None, typer.Option(metavar="MS", help="With --backbone auto: ms an image on one core at most.")
]
Pilot = Annotated[
    bool,
    typer.Option("--pilot", help="Where it is open whether training weights helps, try some steps of it and see."),
]
ImageSize = Annotated[int | None, typer.Option(min=1, help="Side of the square input in pixels.")]
ValSplit = Annotated[float, typer.Option(help="Share of each class kept for validation.")]
TestSplit = Annotated[
    float | None,
    typer.Option(help="Share of each class kept as test images; default: a tenth from 300 images on, else none."),
]
ClassWeights = Annotated[str, typer.Option(help="auto: weigh classes if uneven; none.")]
DropLeaks = Annotated[
    bool, typer.Option("--drop-leaks", help="Leave out training images with a copy in val/ or test/.")
]
Seed = Annotated[int, typer.Option(min=0, help="Makes a run repeatable.")]
