"""``tlkit evaluate``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.bundles import chosen_bundle
from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Engine, Json, Model, Workers

SHOWN = 12  # pictures of a kind in the report

if TYPE_CHECKING:
    from tlkit.api.evaluate import Evaluation


def evaluate_command(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="The folder, laid out as for training.")],
    model: Model = None,
    split: Annotated[
        str, typer.Option(help="Of a folder with train/, val/, test/: which part; auto: test/, else val/; all.")
    ] = "auto",
    table: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write what was said of every picture.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Also write a page with plots and the worst mistakes.")
    ] = None,
    engine: Engine = "auto",
    workers: Workers = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say how good a bundle is on labelled pictures, with intervals, and where it goes wrong.

    Example: tlkit evaluate ./test --model garden.tlkit
    """
    from tlkit.cli.console import ConsoleProgress

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.evaluate import evaluate
        from tlkit.evaluation.table import picture_table
        from tlkit.report.page import check_free, write

    for path, option in ((table, "--csv"), (report, "--report")):
        if path is not None:
            check_free(path, images, option)
    bundle = chosen_bundle(model, show)
    result = evaluate(images, bundle, split=split, engine=engine, workers=workers, progress=show)
    if table is not None:
        write(table, picture_table(result.files, result.labels, result.probabilities, result.used, result.classes))
    if report is not None:
        with show.phase("Writing the report", None):
            write(report, _page(result))
    if as_json:
        typer.echo(json.dumps(result.to_json()))
    else:
        _present(result)


def _page(result: Evaluation) -> str:
    from tlkit.evaluation.metrics import reliability
    from tlkit.evaluation.pictures import most_doubtful, worst_mistakes
    from tlkit.report.evaluation import evaluation_page
    from tlkit.report.thumbnails import Shown, thumbnail

    def shown(indices: list[int]) -> list[Shown]:
        return [
            Shown(
                file=result.files[i],
                image=thumbnail(result.root / result.files[i]),
                actual=result.classes[result.labels[i]],
                answer=result.classes[int(result.probabilities[i].argmax())],
                probability=float(result.probabilities[i].max()),
            )
            for i in indices
        ]

    split = "" if result.split == "all" else f" --split {result.split}"
    command = f"tlkit evaluate {shlex.quote(str(result.root))} --model {shlex.quote(str(result.model))}{split}"
    return evaluation_page(
        result.to_json(),
        reliability(result.probabilities, result.labels),
        shown(worst_mistakes(result.probabilities, result.labels, SHOWN)),
        shown(most_doubtful(result.probabilities, result.labels, SHOWN)),
        result.root.name,
        command,
    )


def _present(result: Evaluation) -> None:
    from rich.table import Table
    from rich.text import Text

    from tlkit.cli.console import out
    from tlkit.evaluation.metrics import TOP

    console, its = out(), result.metrics

    def say(line: str, style: str = "") -> None:
        console.print(Text(printable(line), style=style), soft_wrap=True)

    low, high = its.accuracy_ci95
    say(f"{its.accuracy:.1%} of {its.images} pictures right (95% interval, Wilson: {low:.1%} to {high:.1%})", "bold")
    for line in result.warnings:
        say(f"warning: {line}", "yellow")
    top = f", top-5 {its.top5_accuracy:.1%}" if len(result.classes) > TOP else ""
    say(
        f"balanced accuracy {its.balanced_accuracy:.1%}, macro-F1 {its.macro_f1:.3f}{top}, "
        f"log loss {its.log_loss:.3f}, calibration error (ECE) {its.ece:.3f}"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for name in ("pictures", "recall", "95% interval", "precision", "F1"):
        table.add_column(name, justify="right")
    for each in result.per_class:
        interval = "" if each.recall_ci95 is None else "{:.0%} to {:.0%}".format(*each.recall_ci95)
        recall = f"{each.recall:.1%}" if each.support else ""
        table.add_row(
            Text(printable(each.name)), str(each.support), recall, interval, f"{each.precision:.1%}", f"{each.f1:.3f}"
        )
    console.print(table)
    for pair in result.confused:
        say(f"{pair.count} of {pair.actual} ({pair.share:.0%}) taken for {pair.answer}")
    for file, reason in result.skipped[:3]:
        say(f"skipped {file}: {reason}")
    if len(result.skipped) > 3:
        say(f"... and {len(result.skipped) - 3} more skipped pictures (--json names all)")
