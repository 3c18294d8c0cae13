"""``tlkit predict``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.api.table_options import FileOptions
from tlkit.cli.bundles import chosen_bundle
from tlkit.cli.declared import SORTING, choices_of, with_options
from tlkit.cli.exits import Exit, printable
from tlkit.cli.options import Debug, Engine, Images, Json, Model, RawCsv, Shard, Tta, UnknownRate, Workers
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT
from tlkit.progress import OnlyNotes
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.prediction_rows import Counts
    from tlkit.api.sort import Sorted
    from tlkit.cli.console import ConsoleProgress

SHOWN = 10  # files that are named each on a line


class Format(str, Enum):
    """Output formats."""

    table = "table"
    csv = "csv"
    json = "json"


def _flag(name: str, help: str) -> Any:
    return typer.Option(name, help=help, rich_help_panel=SORTING)


@with_options(FileOptions, "table")
def predict_command(
    images: Images,
    table: FileOptions,
    model: Model = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar=choices_of(Format.__members__),
            help="Output format on stdout.",
            rich_help_panel=OUTPUT,
            show_default="table on a terminal, csv otherwise",
        ),
    ] = None,
    as_json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the rows to this new file, which must end in .csv, .jsonl or .parquet.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="With --output: go on with an unfinished run.", rich_help_panel=OUTPUT),
    ] = False,
    shard: Shard = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Give the K most probable classes of each image; in CSV, a column each.",
            rich_help_panel=OUTPUT,
            show_default="5 in JSON and Parquet, 2 in a table, 1 in CSV",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Mark images for review whose probability is below P, 0 to 1.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Mark images for review so that of the others this share is right, such as 0.99, with 95% confidence.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    each_class: Annotated[
        bool,
        typer.Option("--each-class", help="With --precision: for each class by itself.", rich_help_panel=OUTPUT),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit with 2 if an image cannot be read.", rich_help_panel=OUTPUT),
    ] = False,
    raw_csv: RawCsv = False,
    sort_into: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Put the images into a folder for each class, and into unknown, review and unreadable.",
            rich_help_panel=SORTING,
        ),
    ] = None,
    copy: Annotated[bool, _flag("--copy", "Copy the images; this is the default.")] = False,
    move: Annotated[bool, _flag("--move", "Move the images.")] = False,
    link: Annotated[bool, _flag("--link", "Make symbolic links to the images.")] = False,
    dry_run: Annotated[bool, _flag("--dry-run", "Only say where every file would go.")] = False,
    unknown_rate: UnknownRate = None,
    tta: Tta = False,
    engine: Engine = "auto",
    workers: Workers = None,
    debug: Debug = False,
) -> None:
    """Label images with a trained bundle.

    Example: tlkit predict photos/ --model garden.tlkit
    """
    _refuse_contradictions(form, output, resume, shard, top, raw_csv, sort_into, [copy, move, link], dry_run)
    from tlkit.cli.console import ConsoleProgress

    show = ConsoleProgress()
    with show.phase("Starting", None):
        from tlkit.api.predict import predict_iter
        from tlkit.api.prediction_rows import Counts
        from tlkit.api.promise import check_together

        check_together(threshold, precision, each_class=each_class, tta=tta)

    asked: dict[str, Any] = {
        "model": chosen_bundle(model, show),
        "unknown_rate": unknown_rate,
        "threshold": threshold,
        "precision": precision,
        "each_class": each_class,
        "tta": tta,
        "engine": engine,
        "workers": workers,
        **table.given(),
    }
    if sort_into is not None:
        action = "move" if move else "link" if link else "copy"
        counts = _sort(images, sort_into, asked, show, action=action, dry_run=dry_run, as_json=as_json)
    elif output is not None:
        asked |= {"resume": resume, "shard": shard, "top": top, "raw_csv": raw_csv}
        counts = _write(images, output, asked, show, as_json=as_json)
    else:
        terminal, counts = sys.stdout.isatty(), Counts()
        chosen = Format.json if as_json else form or (Format.table if terminal else Format.csv)
        # on a terminal the rows themselves show progress, and a bar would get in their way
        rows = predict_iter(images, progress=OnlyNotes(show) if terminal else show, top=top or 5, **asked)
        reviews = threshold is not None or precision is not None
        _show(chosen, raw_csv, top, reviews)(rows, counts)
        if counts.images > 1:
            show.note(str(counts))
    if counts.images == counts.unreadable > 0 or (strict and counts.unreadable):
        raise typer.Exit(Exit.USER)


def _show(form: Format, raw: bool, top: int | None, review: bool) -> Callable[[Any, Counts], None]:
    """Return what prints rows in a format."""
    from tlkit.api.prediction_rows import CsvRows
    from tlkit.cli.predict_rows import show_csv, show_json, show_table

    if form is Format.json:
        return show_json
    if form is Format.table:
        return lambda rows, counts: show_table(rows, counts, top or 2)
    return lambda rows, counts: show_csv(rows, counts, CsvRows(top or 1, review, raw))


def _refuse_contradictions(
    form: Format | None,
    output: Path | None,
    resume: bool,
    shard: str | None,
    top: int | None,
    raw_csv: bool,
    sort_into: Path | None,
    actions: list[bool],
    dry_run: bool,
) -> None:
    """Refuse options that do nothing together, before anything heavy is imported."""
    if sum(actions) > 1:
        raise TlkitError("--copy, --move and --link contradict each other", "give one of them")
    if sort_into is None and (any(actions) or dry_run):
        names = ("--copy", "--move", "--link", "--dry-run")
        name = names[[*actions, dry_run].index(True)]
        raise TlkitError(f"{name} requires --sort-into", "say which folder, for example --sort-into sorted")
    if sort_into is not None:
        given = {"--output": output, "--format": form, "--top": top, "--raw-csv": raw_csv or None}
        if wrong := [name for name, value in given.items() if value is not None]:
            raise TlkitError(f"{wrong[0]} does not apply to --sort-into", "run predict once for each")
    if resume and output is None:
        hint = "--sort-into goes on by itself" if sort_into is not None else "for example --output labels.csv"
        raise TlkitError("--resume requires --output", hint)
    if shard is not None and output is None:
        raise TlkitError("--shard requires --output", "for example --output labels.csv")
    if output is not None and form is not None:
        raise TlkitError("--format does not apply to --output", "the name of the file says the format")


def _write(images: list[Path], output: Path, asked: dict[str, Any], show: ConsoleProgress, *, as_json: bool) -> Counts:
    """Write the rows to a file and say so."""
    from tlkit.api.predict_file import predict_file

    found = predict_file(images, output, progress=show, **asked)
    if as_json:
        typer.echo(json_text(found.to_json()))
    else:
        typer.echo(str(found.counts))
        earlier = f", {found.reused:,} of them in an earlier run" if found.reused else ""
        typer.echo(printable(f"saved {found.output} in {found.seconds:.0f} s{earlier}"))
    return found.counts


def _sort(
    images: list[Path],
    into: Path,
    asked: dict[str, Any],
    show: ConsoleProgress,
    *,
    action: str,
    dry_run: bool,
    as_json: bool,
) -> Counts:
    """Sort the images and say where they went."""
    from tlkit.api.sort import sort_into

    found = sort_into(images, into, action=action, dry_run=dry_run, progress=show, **asked)
    if as_json:
        typer.echo(json_text(found.to_json()))
    else:
        _present(found, dry_run=dry_run)
    if found.stayed:
        raise typer.Exit(Exit.USER)
    return found.counts


def _present(found: Sorted, *, dry_run: bool) -> None:
    if dry_run:
        for each in found.files:
            typer.echo(printable(f"{each.source} -> {each.target}"))
    typer.echo(str(found.counts))
    if found.resumed:
        typer.echo(f"{plural(found.resumed, 'image')} sorted in an earlier run")
    if dry_run:
        return
    done = {"copy": "copied", "move": "moved", "link": "linked"}[found.action]
    typer.echo(printable(f"{done} into {found.into} in {found.seconds:.0f} s"))
    for each in found.stayed[:SHOWN]:
        typer.echo(printable(f"left where it is: {each.source} ({each.error})"))
    if len(found.stayed) > SHOWN:
        typer.echo(f"and {plural(len(found.stayed) - SHOWN, 'more file')} (--json lists all)")
    typer.echo(printable(f"to take it back: tlkit undo {_quoted(found.journal)}"))


def _quoted(path: Path | None) -> str:
    import shlex

    return shlex.quote(str(path))
