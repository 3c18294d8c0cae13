"""``tlkit evaluate``."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.api.table_options import TableOptions
from tlkit.cli.bundles import chosen_bundle
from tlkit.cli.declared import MODEL, choices_of, completion, short, with_options
from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Engine, Json, LabelledImages, Model, RawCsv, Tta, UnknownRate, Workers
from tlkit.jsontext import json_text
from tlkit.plan.choices import AUTO, SPLITS
from tlkit.plan.option import DATA, OUTPUT
from tlkit.words import plural, some

if TYPE_CHECKING:
    from tlkit.api.evaluation import Evaluation
    from tlkit.evaluation.background import Background


@with_options(TableOptions, "table")
def evaluate_command(
    images: LabelledImages,
    table: TableOptions,
    model: Model = None,
    split: Annotated[
        str,
        typer.Option(
            metavar=choices_of(SPLITS),
            help="Evaluate this part of a folder with train/, val/ or test/; auto: test/, else val/, else everything.",
            rich_help_panel=DATA,
            autocompletion=completion(lambda: SPLITS),
        ),
    ] = AUTO,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE.csv",
            help="Also write every image's prediction to a CSV file.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Also write an HTML page with plots and the worst mistakes.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    unknown_rate: UnknownRate = None,
    precision: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Say how sure the bundle must be for this share of its answers to be right, such as 0.99.",
            rich_help_panel=MODEL,
            show_default="0.99, 0.95 and 0.9",
        ),
    ] = None,
    background_test: Annotated[
        bool,
        typer.Option(
            "--background-test",
            help="Also test whether the class can be read from the border of the images, or from facts of their files.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    tta: Tta = False,
    engine: Engine = "auto",
    workers: Workers = None,
    as_json: Json = False,
    raw_csv: RawCsv = False,
    debug: Debug = False,
) -> None:
    """Measure how well a bundle does on labelled images, with intervals, and show its mistakes.

    Example: tlkit evaluate ./test --model garden.tlkit
    """
    from tlkit.cli.console import ConsoleProgress

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.evaluate import evaluate, page_of_evaluation
        from tlkit.api.explain import class_maps
        from tlkit.api.places import check_written
        from tlkit.evaluation.prediction_table import image_table
        from tlkit.files import write_new
        from tlkit.report.page import require_page

    check_written(images, table.columns, {"--csv": csv, "--report": report})
    if report is not None:
        require_page()
    bundle = chosen_bundle(model, show)
    result = evaluate(
        images,
        bundle,
        split=split,
        unknown_rate=unknown_rate,
        precision=precision,
        background_test=background_test,
        tta=tta,
        engine=engine,
        workers=workers,
        progress=show,
        **table.given(),
    )
    page = None
    if report is not None:  # all is computed before anything is written
        with show.phase("Writing the report", None):
            page = page_of_evaluation(result, class_maps(bundle), bundle.input_size)
    if csv is not None:
        columns = (result.files, result.labels, result.probabilities, result.unknown, result.used)
        write_new(csv, image_table(*columns, result.classes, raw=raw_csv))
    if report is not None and page is not None:
        write_new(report, page)
    if as_json:
        typer.echo(json_text(result.to_json()))
    else:
        _present(result, asked=precision is not None)


def _say_promises(result: Evaluation, say: Callable[[str], None], *, asked: bool) -> None:
    """Say what can be promised; if it was asked for, also how to use it, and what the bundle's own promise came to."""
    say(result.promises.line)
    if not asked:
        return
    for name, its in result.promises.by_class.items():
        if its is not None:
            say(f"  {name} by itself: answers {its.answered:,} of {its.images:,} predicted as such")
    if missing := [name for name, its in result.promises.by_class.items() if its is None]:
        say(f"  no promise by itself: {some(missing)}")
    if result.promises.best is not None:
        model, threshold = shlex.quote(short(result.model)), result.promises.best.threshold
        say(f"to use it: tlkit predict IMAGES --model {model} --threshold {threshold!r}")
    if result.kept is not None:
        say(str(result.kept))


def _say_background(found: Background, say: Callable[[str], None]) -> None:
    """Say what the class can be read from, and how often."""
    left_out = f", {found.left_out:,} left out to save time" if found.left_out else ""
    say(
        f"what the class can be read from ({plural(found.images, 'image')}{left_out}; always naming the largest class: "
        f"{found.majority:.1%}):"
    )
    for name, reading, answers in found.rows():
        bundle = "" if answers is None else f"; the bundle sees only that: {answers.accuracy:.1%}"
        say(f"  {name}: {reading}{bundle}")


def _present(result: Evaluation, *, asked: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from tlkit.cli.console import out, sayer
    from tlkit.evaluation.metrics import TOP

    console, its = out(), result.metrics

    say = sayer(console)

    low, high = its.accuracy_ci95
    say(f"accuracy {its.accuracy:.1%} (95% interval {low:.1%} to {high:.1%}), {plural(its.images, 'image')}", "bold")
    for line in result.warnings:
        say(f"warning: {line}", "yellow")
    top = f", top-5 {its.top5_accuracy:.1%}" if len(result.classes) > TOP else ""
    say(
        f"balanced accuracy {its.balanced_accuracy:.1%}, macro-F1 {its.macro_f1:.3f}{top}, "
        f"log loss {its.log_loss:.3f}, calibration error (ECE) {its.ece:.3f}, {plural(its.images, 'image')}"
    )
    if result.unknown_share is not None:
        flagged = f"{round(result.unknown_share * its.images):,} of {plural(its.images, 'image')}"
        say(f"flagged as unknown, although their classes are known: {flagged} ({result.unknown_share:.1%})")
    _say_promises(result, say, asked=asked)
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for name in ("images", "recall", "95% interval", "precision", "F1"):
        table.add_column(name, justify="right")
    for each in result.per_class:
        interval = "" if each.recall_ci95 is None else "{:.0%} to {:.0%}".format(*each.recall_ci95)
        recall = f"{each.recall:.1%}" if each.support else ""
        table.add_row(
            Text(printable(each.name)), str(each.support), recall, interval, f"{each.precision:.1%}", f"{each.f1:.3f}"
        )
    console.print(table)
    if result.background is not None:
        _say_background(result.background, say)
    for pair in result.confused:
        if pair.count > 1:  # a single image is no pattern
            say(f"common mix-up: {pair.count} of {pair.actual} ({pair.share:.0%}) predicted as {pair.answer}")
    for file, reason in result.skipped[:3]:
        say(f"skipped {file}: {reason}")
    if len(result.skipped) > 3:
        say(f"... and {len(result.skipped) - 3} more skipped images (--json lists all)")
