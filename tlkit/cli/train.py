"""``tlkit train``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.api.train.options import TrainOptions
from tlkit.cli.declared import DEBUG, JSON, given, is_given, options, parameter, short, with_parameters
from tlkit.cli.exits import Exit, printable
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT, STRATEGY
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.train.result import TrainResult
    from tlkit.api.train.trained import Tuning

ANEW = ("images", "resume", "workers", "as_json", "debug")  # what may be given anew with --resume
ENDS = {
    "schedule": "the whole schedule",
    "early stopping": "ended early, as nothing improved",
    "time budget": "all the time there was",
    "interrupted": "interrupted",
}
MAX_SHOWN = 10  # skipped images named on the terminal; --json names all

IMAGES = Annotated[
    Path | None,
    typer.Argument(
        metavar="IMAGES", help="One sub-folder per class, or train/ and val/, test/ with them.", show_default=False
    ),
]
PLAN = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Carry out this plan, as tlkit recommend --plan writes it.", rich_help_panel=STRATEGY
    ),
]
RESUME = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Go on with a run that was killed or interrupted.", rich_help_panel=OUTPUT),
]


def train_command(context: typer.Context, **values: Any) -> None:
    """Train a classifier on a folder of images.

    Example: tlkit train ./images
    """
    from tlkit.cli.console import ConsoleProgress

    images, resume, plan = values["images"], values["resume"], values["plan"]
    _check_place(context, images, resume)
    asked = given(context, values, TrainOptions)
    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.recommend.plan_file import read_plan
        from tlkit.api.train.run import resume as take_up
        from tlkit.api.train.run import train

    if resume is not None:
        result = take_up(resume, images=images, workers=values["workers"], progress=show)
    else:
        result = train(images, plan=None if plan is None else read_plan(plan), progress=show, **asked)
    if values["as_json"]:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result)
    if result.resume is not None:
        steps = result.tuning.steps if result.tuning else 0
        show.note(f"interrupted after step {steps}; the best so far is saved")
        show.note(f"to go on: tlkit train --resume {shlex.quote(short(result.resume))}")
        raise typer.Exit(Exit.INTERRUPTED)


with_parameters(
    train_command,
    [
        parameter("images", IMAGES, None),
        *options(TrainOptions),
        parameter("plan", PLAN, None),
        parameter("resume", RESUME, None),
        parameter("as_json", JSON, False),
        parameter("debug", DEBUG, False),
    ],
)


def _check_place(context: typer.Context, images: Path | None, resume: Path | None) -> None:
    """IMAGES, or a run to resume, whose options cannot be changed."""
    if resume is None:
        if images is None:
            raise TlkitError("Missing argument 'IMAGES'", "tlkit train ./images, or tlkit train --resume DIR")
        return
    for param in context.command.params:
        if param.name and param.name not in ANEW and is_given(context, param.name):
            hint = "only IMAGES, --workers, --json and --debug go with it"
            raise TlkitError(f"{param.opts[0]} cannot be changed by --resume, which goes on as the run began", hint)


def _present(result: TrainResult) -> None:
    from tlkit.cli.console import out

    metrics, images = result.metrics, result.images
    console = out()

    def say(line: str) -> None:
        console.print(printable(line), markup=False)

    say(
        f"{plural(len(result.classes), 'class', 'classes')}, {images['train']} training and {images['val']} validation "
        "images" + (f", {plural(images['test'], 'test image')}" if images["test"] else "")
    )
    for line in result.accuracies():
        say(line)
    if result.plan.expected is not None:
        accuracy, low, high = result.plan.expected
        say(f"predicted accuracy was {accuracy:.1%} ({low:.0%} to {high:.0%})")
    if result.tuning is not None:
        say(_tuning_line(result.plan.strategy, result.tuning, metrics))
    for file, reason in result.skipped[:MAX_SHOWN]:
        say(f"skipped {file}: {reason}")
    if len(result.skipped) > MAX_SHOWN:
        say(f"... and {len(result.skipped) - MAX_SHOWN} more skipped images (--json names all)")
    say(f"saved {result.model} in {result.seconds['total']:.0f} s")
    if result.report is not None:
        say(f"what it reached, where it goes wrong and what to do next: {short(result.report)}")
    say(f"next: tlkit predict IMAGES --model {shlex.quote(short(result.model))}")


def _tuning_line(strategy: str, tuning: Tuning, metrics: dict[str, Any]) -> str:
    if not tuning.kept:
        return f"fine-tuning did not help ({plural(tuning.steps, 'step')}): the frozen backbone is saved"
    more = 100 * (metrics["val_accuracy"] - tuning.frozen_val_accuracy)
    return (
        f"{strategy}: {more:+.1f} percentage points over the frozen backbone's {tuning.frozen_val_accuracy:.1%}, "
        f"best at step {tuning.best_step} of {tuning.steps} ({ENDS[tuning.stopped]})"
    )
