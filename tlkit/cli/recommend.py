"""``tlkit recommend``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.api.train.options import TrainOptions
from tlkit.cli.declared import DEBUG, JSON, given, options, parameter, with_parameters
from tlkit.cli.exits import printable
from tlkit.jsontext import json_text
from tlkit.plan.choices import LAST
from tlkit.plan.option import OUTPUT

if TYPE_CHECKING:
    from tlkit.api.recommend.recommend import Recommendation


IMAGES = Annotated[Path, typer.Argument(metavar="IMAGES", help="The folder, laid out as for training.")]
REPORT = Annotated[
    Path | None, typer.Option(metavar="FILE.html", help="Also write a page with plots.", rich_help_panel=OUTPUT)
]
PLAN = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the plan, for tlkit train --plan.", rich_help_panel=OUTPUT),
]


def recommend_command(context: typer.Context, **values: Any) -> None:
    """Say what to do with a dataset, why, and what accuracy to expect; trains nothing.

    Example: tlkit recommend ./images
    """
    from tlkit.cli.console import ConsoleProgress

    images, report, plan = values["images"], values["report"], values["plan"]
    asked = given(context, values, TrainOptions, advisor=True)
    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.recommend.plan_file import write_plan
        from tlkit.api.recommend.recommend import recommend
        from tlkit.files import check_outputs, write_new
        from tlkit.report.advice import advice_page

    check_outputs(images, {"--report": report, "--plan": plan})
    result = recommend(images, progress=show, **asked)
    command = _command(images, plan, result)
    if plan is not None:
        write_plan(plan, result.plan)
    if report is not None:
        write_new(report, advice_page(result.to_json(), images.resolve().name, command))
    if values["as_json"]:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result, command)


with_parameters(
    recommend_command,
    [
        parameter("images", IMAGES),
        *options(TrainOptions, advisor=True),
        parameter("plan", PLAN, None),
        parameter("report", REPORT, None),
        parameter("as_json", JSON, False),
        parameter("debug", DEBUG, False),
    ],
)


def _command(images: Path, plan: Path | None, result: Recommendation) -> str:
    """What does as advised: ``train`` comes to the same advice by itself, but for a pilot's."""
    train, advice = f"tlkit train {shlex.quote(str(images))}", result.measured.advice
    if plan is not None:
        return f"{train} --plan {shlex.quote(str(plan))}"
    if result.measured.pilot is None:
        return train
    its = {"--strategy": advice.strategy, "--features": advice.features, "--boundary": advice.boundary}
    return " ".join([train, *(f"{name} {value}" for name, value in its.items() if value not in (None, LAST))])


def _present(result: Recommendation, command: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from tlkit.cli.console import out
    from tlkit.words import duration

    console, measured = out(), result.measured

    def say(line: str = "", style: str = "") -> None:
        console.print(Text(printable(line), style=style), soft_wrap=True)

    say(f"{measured.advice.strategy}: {measured.advice.reasons[0]}", "bold")
    say(f"size: {measured.size.level}, {measured.size.why}")
    say(f"similarity to ImageNet: {measured.similarity.score:.2f} of 1, {measured.similarity.level}")
    for line in measured.similarity.evidence:
        say(f"  {line}", "dim")
    table = Table(box=None, pad_edge=False)
    table.add_column("strategy")
    for name in ("predicted accuracy", "90% interval", "time here"):
        table.add_column(name, justify="right")
    table.add_column("how it is known")
    for row in result.expected:
        its = row["strategy"] == measured.advice.strategy
        table.add_row(*_cells(row, duration(row["seconds"])), style="bold" if its else "")
    console.print(table)
    for reason in measured.advice.reasons[1:]:
        if not reason.startswith(("size:", "similarity ")):
            say(reason)
    if result.growth is not None:
        say(f"more images: {result.growth.why}")
    for file, reason in result.skipped[:3]:
        say(f"skipped {file}: {reason}")
    if len(result.skipped) > 3:
        say(f"... and {len(result.skipped) - 3} more skipped images (--json names all)")
    say(f"next: {command}")


def _cells(row: dict[str, Any], time: str) -> tuple[str, str, str, str, str]:
    if row["accuracy"] is None:
        return row["strategy"], "unknown", "", time, "too few images to measure"
    known = "cross-validated" if row["measured"] else "predicted"
    return row["strategy"], f"{row['accuracy']:.1%}", f"{row['low']:.0%} to {row['high']:.0%}", time, known
