"""``tlkit train``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.backbones.catalog.table import DEFAULT, is_file_name
from tlkit.cli.exits import Exit, printable
from tlkit.cli.options import (
    Backbone,
    ClassWeights,
    Debug,
    DropLeaks,
    Engine,
    ImageSize,
    Json,
    MaxLatency,
    MaxParams,
    Pilot,
    Preprocessing,
    Seed,
    TestSplit,
    ValSplit,
    Workers,
)
from tlkit.errors import TlkitError

if TYPE_CHECKING:
    from tlkit.api.train.run import TrainResult

PLANNED = (  # what a plan decides; --backbone FILE may say where its backbone is now
    "strategy",
    "advisor",
    "pilot",
    "features",
    "boundary",
    "preprocessing",
    "max_params",
    "max_latency",
    "weights",
    "from_bundle",
    "image_size",
    "val_split",
    "test_split",
    "class_weights",
    "seed",
)
ANEW = ("images", "resume", "workers", "as_json", "debug")  # what may be given anew with --resume
ENDS = {
    "schedule": "the whole schedule",
    "early stopping": "ended early, as nothing improved",
    "time budget": "all the time there was",
    "interrupted": "interrupted",
}
SHOWN = 10  # skipped images named on the terminal; --json names all


def train_command(
    context: typer.Context,
    images: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGES",
            help="One sub-folder per class, or train/ and val/, test/ with them.",
            show_default=False,
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="auto: what the advisor measures to be best; freeze: keep the backbone, solve a new head; "
            "last-layers: train its last stages too; fine-tune: train all of it; early-layers: keep its first stages, "
            "and train them."
        ),
    ] = "auto",
    advisor: Annotated[
        str, typer.Option(help="With auto: measured, or rule: by size and similarity alone.")
    ] = "measured",
    pilot: Pilot = False,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Carry out this plan, as tlkit recommend --plan writes it.")
    ] = None,
    features: Annotated[str, typer.Option(help="What the head sees: the last stage kept, or all together.")] = "last",
    boundary: Annotated[
        str | None,
        typer.Option(
            help="early-layers: the last stage kept; last-layers: the last one that stays as it is; such as stage3.",
            show_default="by measure",
        ),
    ] = None,
    backbone: Backbone = DEFAULT,
    preprocessing: Preprocessing = None,
    max_params: MaxParams = None,
    max_latency: MaxLatency = None,
    weights: Annotated[str, typer.Option(help="imagenet, none, or a weights file.")] = "imagenet",
    from_bundle: Annotated[
        Path | None, typer.Option("--from", metavar="BUNDLE", help="Start from this bundle's network.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The bundle; default: <folder name>.tlkit, -2, -3.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the bundle at --output.")] = False,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Go on with a run that was killed or interrupted.")
    ] = None,
    image_size: ImageSize = None,
    val_split: ValSplit = 0.2,
    test_split: TestSplit = None,
    class_weights: ClassWeights = "auto",
    drop_leaks: DropLeaks = False,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the training images.", show_default="by their number")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Largest rate, that of the head.", show_default="by a short check")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images an optimizer step.", show_default="32")] = None,
    augment: Annotated[str, typer.Option(help="auto, none, light or strong.")] = "auto",
    mixed_precision: Annotated[
        bool | None,
        typer.Option("--mixed-precision/--no-mixed-precision", help="bfloat16.", show_default="on GPUs made for it"),
    ] = None,
    time_budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long everything may take, such as 90s, 10m, 1.5h.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write TensorBoard's files here.")
    ] = None,
    unknown_rate: Annotated[
        float, typer.Option(help="Share of known images that predict may call unknown.", show_default=True)
    ] = 0.05,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Leave report.html in the bundle.")] = True,
    engine: Engine = "auto",
    workers: Workers = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a classifier on a folder of images.

    Example: tlkit train ./images
    """
    from tlkit.cli.console import ConsoleProgress

    _check_place(context, images, resume)
    decided = PLANNED if is_file_name(backbone) else (*PLANNED, "backbone")
    if plan is not None and (given := [name for name in decided if _is_given(context, name)]):
        raise TlkitError(f"{_option(given[0])} is decided by --plan", "leave one of them out, or change the plan")
    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.recommend.plan_file import read_plan
        from tlkit.api.train.options import parse_time
        from tlkit.api.train.run import resume as take_up
        from tlkit.api.train.run import train
        from tlkit.api.values import parse_count

    if resume is not None:
        result = take_up(resume, images=images, workers=workers, progress=show)
    else:
        result = train(
            images or Path(),
            strategy=strategy,
            advisor=advisor,
            pilot=pilot,
            plan=None if plan is None else read_plan(plan),
            features=features,
            boundary=boundary,
            backbone=backbone,
            preprocessing=preprocessing,
            max_params=None if max_params is None else parse_count(max_params),
            max_latency=None if max_latency is None else max_latency / 1000,
            weights=weights,
            from_bundle=from_bundle,
            output=output,
            overwrite=overwrite,
            image_size=image_size,
            val_split=val_split,
            test_split=test_split,
            class_weights=class_weights,
            drop_leaks=drop_leaks,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            augment=augment,
            mixed_precision=mixed_precision,
            time_budget=None if time_budget is None else parse_time(time_budget),
            tensorboard=tensorboard,
            engine=engine,
            unknown_rate=unknown_rate,
            report=report,
            workers=workers,
            seed=seed,
            progress=show,
        )
    if as_json:
        typer.echo(json.dumps(result.to_json()))
    else:
        _present(result)
    if result.resume is not None:
        steps = result.tuning["steps"] if result.tuning else 0
        show.note(f"interrupted after step {steps}; the best so far is saved")
        show.note(f"to go on: tlkit train --resume {shlex.quote(_short(result.resume))}")
        raise typer.Exit(Exit.INTERRUPTED)


def _check_place(context: typer.Context, images: Path | None, resume: Path | None) -> None:
    """IMAGES, or a run to resume, whose options cannot be changed."""
    if resume is None:
        if images is None:
            raise TlkitError("Missing argument 'IMAGES'", "tlkit train ./images, or tlkit train --resume DIR")
        return
    for name in context.params:
        if name not in ANEW and _is_given(context, name):
            hint = "only IMAGES, --workers, --json and --debug go with it"
            raise TlkitError(f"{_option(name)} cannot be changed by --resume, which goes on as the run began", hint)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _option(name: str) -> str:
    return f"--{'from' if name == 'from_bundle' else name.replace('_', '-')}"


def _present(result: TrainResult) -> None:
    from tlkit.cli.console import out

    metrics, images = result.metrics, result.images
    console = out()

    def say(line: str) -> None:
        console.print(printable(line), markup=False)

    say(
        f"{len(result.classes)} classes, {images['train']} training and {images['val']} validation images"
        + (f", {images['test']} test images" if images["test"] else "")
    )
    for line in result.accuracies():
        say(line)
    if result.plan.expected is not None:
        accuracy, low, high = result.plan.expected
        say(f"the advisor expected {accuracy:.1%} ({low:.0%} to {high:.0%})")
    if result.tuning is not None:
        say(_tuning_line(result.plan.strategy, result.tuning, metrics))
    for file, reason in result.skipped[:SHOWN]:
        say(f"skipped {file}: {reason}")
    if len(result.skipped) > SHOWN:
        say(f"... and {len(result.skipped) - SHOWN} more skipped images (--json names all)")
    say(f"saved {result.model} in {result.seconds['total']:.0f} s")
    if result.report is not None:
        say(f"what it reached, where it goes wrong and what to do next: {_short(result.report)}")
    say(f"next: tlkit predict IMAGES --model {shlex.quote(_short(result.model))}")


def _tuning_line(strategy: str, tuning: dict[str, Any], metrics: dict[str, Any]) -> str:
    if not tuning["kept"]:
        return f"{tuning['steps']} steps of training did not help: the frozen backbone is what is saved"
    more = 100 * (metrics["val_accuracy"] - tuning["frozen_val_accuracy"])
    return (
        f"{strategy}: {more:+.1f} points over the frozen backbone's {tuning['frozen_val_accuracy']:.1%}, "
        f"best at step {tuning['best_step']} of {tuning['steps']} ({ENDS[tuning['stopped']]})"
    )


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
