"""``tlkit recommend``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.api.train.options import TrainOptions
from tlkit.cli.declared import command_line, given, options, parameter, with_parameters
from tlkit.cli.options import Debug, Json, LabelledImages
from tlkit.jsontext import json_text
from tlkit.plan.choices import FREEZE
from tlkit.plan.option import OUTPUT

if TYPE_CHECKING:
    from tlkit.api.recommend.recommend import Recommendation


REPORT = Annotated[
    Path | None, typer.Option(metavar="FILE.html", help="Also write an HTML page with plots.", rich_help_panel=OUTPUT)
]
PLAN = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also write the plan, for tlkit train --plan.", rich_help_panel=OUTPUT),
]


def recommend_command(context: typer.Context, **values: Any) -> None:
    """Recommend a strategy for a dataset, with reasons and predicted accuracy; saves no model.

    Example: tlkit recommend ./images
    """
    from tlkit.cli.console import ConsoleProgress

    images, report, plan = values["images"], values["report"], values["plan"]
    asked = given(context, values, TrainOptions, advisor=True)
    request = TrainOptions.make(images, **asked)  # mistakes are told before anything heavy is imported
    with ConsoleProgress() as show:
        with show.phase("Starting", None):
            from tlkit.api.places import check_written
            from tlkit.api.recommend.plan_file import write_plan
            from tlkit.api.recommend.recommend import recommend
            from tlkit.files import write_new
            from tlkit.images.labelled import data_name
            from tlkit.report.advice import advice_page
            from tlkit.report.page import require_page

        check_written(images, request.columns, {"--report": report, "--plan": plan})
        if report is not None:
            require_page()
        result = recommend(images, progress=show, **asked)
    command = _command(images, plan, result, {name: values[name] for name in asked})
    page = None if report is None else advice_page(result.to_json(), data_name(images.resolve()), command)
    if plan is not None:
        write_plan(plan, result.plan)
    if report is not None and page is not None:
        write_new(report, page)
    if values["as_json"]:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result, command)


with_parameters(
    recommend_command,
    [
        parameter("images", LabelledImages),
        *options(TrainOptions, advisor=True),
        parameter("plan", PLAN, None),
        parameter("report", REPORT, None),
        parameter("as_json", Json, False),
        parameter("debug", Debug, False),
    ],
)


def _command(images: Path, plan: Path | None, result: Recommendation, written: dict[str, Any]) -> str:
    """The command that follows the advice, with the same options.

    Args:
        images: The folder.
        plan: The file that the plan is written to.
        result: The advice. ``train`` comes to the same by itself, except for that of a pilot.
        written: The options on the command line, by name, as the user wrote them.
    """
    from tlkit.api.recommend.plan_file import besides_plan

    words = ["tlkit", "train", f"./{images}" if str(images).startswith("-") else str(images)]
    found = result.groups
    if found is not None and not found.asked and plan is None:
        written = {**written, "groups": found.by}
    if plan is not None:
        words += ["--plan", str(plan)]
        return command_line(words, TrainOptions, {name: written[name] for name in besides_plan(result.plan, written)})
    if result.measured.pilot is not None:
        advice = result.measured.advice
        its = result.plan
        is_named = its.backbone_file is None and its.from_bundle is None
        network = {"backbone": its.backbone, "image_size": its.input_size} if is_named else {}
        frozen = {"features": advice.features} if advice.strategy == FREEZE else {}
        chosen = {"strategy": advice.strategy, "boundary": advice.boundary, **network, **frozen}
        written = {**{name: value for name, value in written.items() if name != "pilot"}, **chosen}
    return command_line(words, TrainOptions, written)


def _present(result: Recommendation, command: str) -> None:
    """Print the strategies with accuracy and time, why one is recommended, and the command that follows."""
    from rich.table import Table

    from tlkit.cli.console import out, sayer
    from tlkit.report.advice import headline
    from tlkit.words import duration

    console, measured = out(), result.measured
    say = sayer(console)
    say(headline(measured.advice.strategy, result.expected), "bold")
    say("")
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("strategy")
    for name in ("accuracy", "90% interval", "time here"):
        table.add_column(name, justify="right")
    table.add_column("how it is known")
    for row in result.expected:
        its = row["strategy"] == measured.advice.strategy
        table.add_row(">" if its else "", *_cells(row, duration(row["seconds"])), style="bold" if its else "")
    console.print(table)
    say("")
    say(_reasons(result))
    for file, reason in result.skipped[:3]:
        say(f"skipped {file}: {reason}", whole=True)
    if len(result.skipped) > 3:
        say(f"... and {len(result.skipped) - 3} more skipped images (--json lists all)")
    say(f"next: {command}", whole=True)


def _reasons(result: Recommendation) -> str:
    """All reasons as one paragraph; the report and the JSON have their figures."""
    measured = result.measured
    similarity = f"similarity to ImageNet is {measured.similarity.score:.2f} of 1, {measured.similarity.level}"
    said = [measured.advice.reasons[0], f"the dataset is {measured.size.level}: {measured.size.why}", similarity]
    said += [each for each in measured.advice.reasons[1:] if not each.startswith(("size:", "similarity "))]
    said += [] if result.growth is None else [f"more images: {result.growth.why}"]
    said += [] if result.groups is None else [f"groups: {result.groups.message}"]
    return " ".join(f"{each[:1].upper()}{each[1:].rstrip('.')}." for each in said)


def _cells(row: dict[str, Any], time: str) -> tuple[str, str, str, str, str]:
    if row["accuracy"] is None:
        return row["strategy"], "unknown", "", time, "too few images to measure"
    source = "cross-validated" if row["measured"] else "predicted"
    return row["strategy"], f"{row['accuracy']:.1%}", f"{row['low']:.0%} to {row['high']:.0%}", time, source
