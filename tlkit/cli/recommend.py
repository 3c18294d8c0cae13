"""``tlkit recommend``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.backbones.catalog.table import DEFAULT
from tlkit.cli.exits import printable
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
from tlkit.plan.plan import LAST

if TYPE_CHECKING:
    from tlkit.api.recommend.recommend import Recommendation


def recommend_command(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="The folder, laid out as for training.")],
    advisor: Annotated[str, typer.Option(help="measured, or rule: by size and similarity alone.")] = "measured",
    pilot: Pilot = False,
    backbone: Backbone = DEFAULT,
    preprocessing: Preprocessing = None,
    max_params: MaxParams = None,
    max_latency: MaxLatency = None,
    weights: Annotated[str, typer.Option(help="imagenet, or a weights file.")] = "imagenet",
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write a page with plots.")] = None,
    plan: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the plan, for tlkit train --plan.")] = None,
    image_size: ImageSize = None,
    val_split: ValSplit = 0.2,
    test_split: TestSplit = None,
    class_weights: ClassWeights = "auto",
    drop_leaks: DropLeaks = False,
    time_budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long training may take, such as 90s, 10m, 1.5h.")
    ] = None,
    engine: Engine = "auto",
    workers: Workers = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what to do with a data set, why, and what accuracy to expect; trains nothing.

    Example: tlkit recommend ./images
    """
    from tlkit.cli.console import ConsoleProgress

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.recommend.plan_file import write_plan
        from tlkit.api.recommend.recommend import recommend
        from tlkit.api.train.options import parse_time
        from tlkit.api.values import parse_count
        from tlkit.report.advice import advice_page
        from tlkit.report.page import check_free, write

    for path, option in ((report, "--report"), (plan, "--plan")):
        if path is not None:
            check_free(path, images, option)
    result = recommend(
        images,
        advisor=advisor,
        pilot=pilot,
        backbone=backbone,
        preprocessing=preprocessing,
        max_params=None if max_params is None else parse_count(max_params),
        max_latency=None if max_latency is None else max_latency / 1000,
        weights=weights,
        image_size=image_size,
        val_split=val_split,
        test_split=test_split,
        class_weights=class_weights,
        drop_leaks=drop_leaks,
        time_budget=None if time_budget is None else parse_time(time_budget),
        engine=engine,
        workers=workers,
        seed=seed,
        progress=show,
    )
    command = _command(images, plan, result)
    if plan is not None:
        write_plan(plan, result.plan)
    if report is not None:
        write(report, advice_page(result.to_json(), images.resolve().name, command))
    if as_json:
        typer.echo(json.dumps(result.to_json()))
    else:
        _present(result, command)


def _command(images: Path, plan: Path | None, result: Recommendation) -> str:
    """What does as advised: ``train`` comes to the same advice by itself, but for a pilot's."""
    train, advice = f"tlkit train {shlex.quote(str(images))}", result.looked.advice
    if plan is not None:
        return f"{train} --plan {shlex.quote(str(plan))}"
    if result.looked.pilot is None:
        return train
    its = {"--strategy": advice.strategy, "--features": advice.features, "--boundary": advice.boundary}
    return " ".join([train, *(f"{name} {value}" for name, value in its.items() if value not in (None, LAST))])


def _present(result: Recommendation, command: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from tlkit.cli.console import out
    from tlkit.report.page import duration

    console, looked = out(), result.looked

    def say(line: str = "", style: str = "") -> None:
        console.print(Text(printable(line), style=style), soft_wrap=True)

    say(f"{looked.advice.strategy}: {looked.advice.reasons[0]}", "bold")
    say(f"size: {looked.size.level}, {looked.size.why}")
    say(f"similarity to ImageNet: {looked.similarity.score:.2f} of 1, {looked.similarity.level}")
    for line in looked.similarity.evidence:
        say(f"  {line}", "dim")
    table = Table(box=None, pad_edge=False)
    table.add_column("strategy")
    for name in ("accuracy", "90% interval", "time here"):
        table.add_column(name, justify="right")
    table.add_column("how it is known")
    for row in result.expected:
        its = row["strategy"] == looked.advice.strategy
        table.add_row(*_cells(row, duration(row["seconds"])), style="bold" if its else "")
    console.print(table)
    for reason in looked.advice.reasons[1:]:
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
    known = "cross-validated" if row["measured"] else "foreseen"
    return row["strategy"], f"{row['accuracy']:.1%}", f"{row['low']:.0%} to {row['high']:.0%}", time, known
