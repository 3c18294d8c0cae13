"""``tlkit train``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.backbones.catalog import DEFAULT
from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Engine, Json, Workers

if TYPE_CHECKING:
    from tlkit.api.train import TrainResult

SHOWN = 10  # skipped pictures named on the terminal; --json names all


def train_command(
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES", help="One sub-folder per class, or train/ and val/, test/ with them.")
    ],
    strategy: Annotated[
        str, typer.Option(help="freeze: keep the backbone, solve a new head; early-layers: keep only its first stages.")
    ] = "freeze",
    features: Annotated[str, typer.Option(help="What the head sees: the last stage kept, or all together.")] = "last",
    boundary: Annotated[
        str | None, typer.Option(help="early-layers: the last stage kept, such as stage3; default: by measure.")
    ] = None,
    backbone: Annotated[str, typer.Option(help="A Keras Applications network, or the embedded default.")] = DEFAULT,
    weights: Annotated[str, typer.Option(help="imagenet, none, or a weights file.")] = "imagenet",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The bundle; default: <folder name>.tlkit, -2, -3.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the bundle at --output.")] = False,
    image_size: Annotated[int | None, typer.Option(min=1, help="Side of the square input in pixels.")] = None,
    val_split: Annotated[float, typer.Option(help="Share of each class kept for validation.")] = 0.2,
    class_weights: Annotated[str, typer.Option(help="auto: weigh classes if uneven; none.")] = "auto",
    drop_leaks: Annotated[
        bool, typer.Option("--drop-leaks", help="Leave out training pictures with a copy in val/ or test/.")
    ] = False,
    engine: Engine = "auto",
    workers: Workers = None,
    seed: Annotated[int, typer.Option(min=0, help="Makes a run repeatable.")] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a classifier on a folder of pictures.

    Example: tlkit train ./images --strategy freeze
    """
    from tlkit.cli.console import ConsoleProgress

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.train import train

    result = train(
        images,
        strategy=strategy,
        features=features,
        boundary=boundary,
        backbone=backbone,
        weights=weights,
        output=output,
        overwrite=overwrite,
        image_size=image_size,
        val_split=val_split,
        class_weights=class_weights,
        drop_leaks=drop_leaks,
        engine=engine,
        workers=workers,
        seed=seed,
        progress=show,
    )
    if as_json:
        typer.echo(json.dumps(result.to_json()))
    else:
        _present(result)


def _present(result: TrainResult) -> None:
    from tlkit.cli.console import out

    metrics, images = result.metrics, result.images
    console = out()

    def say(line: str) -> None:
        console.print(printable(line), markup=False)

    say(
        f"{len(result.classes)} classes, {images['train']} training and {images['val']} validation pictures"
        + (f", {images['test']} test pictures" if images["test"] else "")
    )
    for split, name, baseline in (("val", "validation", ""), ("test", "test", "test_")):
        if f"{split}_accuracy" in metrics:
            low, high = metrics[f"{split}_accuracy_ci95"]
            say(
                f"{name} accuracy {metrics[f'{split}_accuracy']:.1%} (95% interval {low:.0%} to {high:.0%}), "
                f"always guessing the largest class {metrics[f'{baseline}baseline_accuracy']:.1%}"
            )
            if result.uneven:
                say(
                    f"classes are uneven: balanced accuracy {metrics[f'{split}_balanced_accuracy']:.1%}, "
                    f"macro-F1 {metrics[f'{split}_macro_f1']:.1%}"
                )
    for file, reason in result.skipped[:SHOWN]:
        say(f"skipped {file}: {reason}")
    if len(result.skipped) > SHOWN:
        say(f"... and {len(result.skipped) - SHOWN} more skipped pictures (--json names all)")
    say(f"saved {result.model} in {result.seconds['total']:.0f} s")
    say(f"next: tlkit predict PICTURES --model {shlex.quote(_short(result.model))}")


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
