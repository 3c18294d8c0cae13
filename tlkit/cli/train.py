"""``tlkit train``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.api.train.options import TrainOptions
from tlkit.cli.declared import given, is_given, options, parameter, short, with_parameters
from tlkit.cli.exits import Exit
from tlkit.cli.options import Debug, Json
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT, STRATEGY
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.train.result import TrainResult
    from tlkit.api.train.trained import Tuning

WITH_RESUME = ("images", "root", "resume", "workers", "as_json", "debug")  # parameters that go with --resume
STOPPED = {
    "schedule": "full schedule",
    "early stopping": "stopped early: no more improvement",
    "time budget": "time budget used up",
    "interrupted": "interrupted",
}
MAX_SHOWN = 10  # skipped images listed on the terminal; --json lists all

IMAGES = Annotated[
    Path | None,
    typer.Argument(
        metavar="IMAGES",
        help="Folder with one sub-folder per class, or with train/ and optionally val/ and test/; or a table (CSV, "
        "TSV, JSON Lines) of files and labels.",
        show_default=False,
    ),
]
PLAN = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Follow this plan, written by tlkit recommend --plan.", rich_help_panel=STRATEGY),
]
RESUME = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Resume a run that was killed or interrupted.", rich_help_panel=OUTPUT),
]


def train_command(context: typer.Context, **values: Any) -> None:
    """Train a classifier on a folder of images.

    Example: tlkit train ./images
    """
    from tlkit.cli.console import ConsoleProgress

    images, resume, plan = values["images"], values["resume"], values["plan"]
    _check_place(context, images, resume)
    asked = given(context, values, TrainOptions)
    if resume is None and plan is None:
        TrainOptions.make(images, **asked)  # mistakes are told before anything heavy is imported
    with ConsoleProgress() as show:
        with show.phase("Starting", None):
            from tlkit.api.recommend.plan_file import read_plan
            from tlkit.api.train.run import resume as resume_run
            from tlkit.api.train.run import train

        if resume is not None:
            result = resume_run(resume, images=images, root=values["root"], workers=values["workers"], progress=show)
        else:
            result = train(images, plan=None if plan is None else read_plan(plan), progress=show, **asked)
    if values["as_json"]:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result)
    if result.resume is not None:
        its = result.tuning
        where = f" at step {its.steps} of {its.planned_steps}" if its is not None else ""
        show.note(f"interrupted{where}; the best network so far is saved")
        show.note(f"to resume: tlkit train --resume {shlex.quote(short(result.resume))}")
        raise typer.Exit(Exit.INTERRUPTED)


with_parameters(
    train_command,
    [
        parameter("images", IMAGES, None),
        *options(TrainOptions),
        parameter("plan", PLAN, None),
        parameter("resume", RESUME, None),
        parameter("as_json", Json, False),
        parameter("debug", Debug, False),
    ],
)


def _check_place(context: typer.Context, images: Path | None, resume: Path | None) -> None:
    """Require IMAGES or a run to resume; the options of a run cannot be changed."""
    if resume is None:
        if images is None:
            raise TlkitError("Missing argument 'IMAGES'", "tlkit train ./images, or tlkit train --resume DIR")
        return
    for param in context.command.params:
        if param.name and param.name not in WITH_RESUME and is_given(context, param.name):
            hint = "a resumed run keeps its options; only IMAGES, --root, --workers, --json and --debug can be given"
            raise TlkitError(f"{param.opts[0]} does not apply to --resume", hint)


def _present(result: TrainResult) -> None:
    from tlkit.cli.console import out, sayer

    metrics, images = result.metrics, result.images
    say = sayer(out())

    counts = [
        plural(images[split], f"{name} image")
        for split, name in (("train", "training"), ("val", "validation"), ("test", "test"))
        if images[split]
    ]
    say(", ".join([plural(len(result.classes), "class", "classes"), *counts]))
    for line in result.accuracies():
        say(line)
    if result.promises is not None:
        say(result.promises.line)
    for warning in result.warnings:
        say(f"warning: {warning}")
    if result.plan.expected is not None:
        accuracy, low, high = result.plan.expected
        say(f"predicted accuracy was {accuracy:.1%} ({low:.0%} to {high:.0%})")
    if result.tuning is not None:
        say(_tuning_line(result.plan.strategy, result.tuning, metrics, images["val"]))
    for file, reason in result.skipped[:MAX_SHOWN]:
        say(f"skipped {file}: {reason}")
    if len(result.skipped) > MAX_SHOWN:
        say(f"... and {len(result.skipped) - MAX_SHOWN} more skipped images (--json lists all)")
    say(f"saved {result.model} in {result.seconds['total']:.0f} s", whole=True)
    if result.report is not None:
        say(f"report: {short(result.report)}", whole=True)
    say(f"next: tlkit predict IMAGES --model {shlex.quote(short(result.model))}", whole=True)


def _tuning_line(strategy: str, tuning: Tuning, metrics: dict[str, Any], held_out: int) -> str:
    if not tuning.kept:
        return f"fine-tuning did not help ({plural(tuning.steps, 'step')}): the frozen backbone is saved"
    more = 100 * (metrics["val_accuracy"] - tuning.frozen_val_accuracy)
    mixed = f", weights {tuning.share:.0%} trained and {1 - tuning.share:.0%} as before" if tuning.share < 1 else ""
    return (
        f"{strategy}: {more:+.1f} percentage points over the frozen backbone's {tuning.frozen_val_accuracy:.1%} on "
        f"{plural(held_out, 'validation image')}, best at step {tuning.best_step} of {tuning.steps} "
        f"({STOPPED[tuning.stopped]}){mixed}"
    )
