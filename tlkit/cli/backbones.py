"""``tlkit backbones``: the catalogue, which is plain data and so answers at once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.api.backbones.listing import SORTS
from tlkit.cli.declared import SELECTION, GroupedCommand, GroupedCommands, choices_of, completion
from tlkit.cli.exits import printable
from tlkit.cli.options import BackboneName, BackboneNames, Debug, Engine, ImageSize, Json
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.plan.option import OUTPUT

if TYPE_CHECKING:
    from tlkit.api.backbones.listing import Catalogue, Entry
    from tlkit.api.backbones.show import Stages

backbones = typer.Typer(invoke_without_command=True, cls=GroupedCommands)


@backbones.callback()
def backbones_command(
    context: typer.Context,
    sort: Annotated[
        str,
        typer.Option(
            metavar=choices_of(SORTS),
            help="Sort by this column; speed requires --measure.",
            rich_help_panel=SELECTION,
            autocompletion=completion(lambda: SORTS),
        ),
    ] = "catalogue",
    match: Annotated[
        str,
        typer.Option(metavar="TEXT", help="List only names that contain TEXT.", rich_help_panel=SELECTION),
    ] = "",
    max_params: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="List only networks with at most N parameters, such as 5M.", rich_help_panel=SELECTION
        ),
    ] = None,
    max_operations: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="List only networks with at most N multiply-adds, such as 600M.",
            rich_help_panel=SELECTION,
        ),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline", help="List only networks whose weights are on this machine.", rich_help_panel=SELECTION
        ),
    ] = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Time each network on this machine, one image at a time.", rich_help_panel=OUTPUT
        ),
    ] = False,
    engine: Engine = "auto",
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Plot accuracy against operations into an .svg or .png file.", rich_help_panel=OUTPUT
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the networks that training can start from.

    Example: tlkit backbones --max-params 10M --sort top1
    """
    if context.invoked_subcommand is not None:
        return
    from tlkit.api.backbones.listing import list_backbones

    if sort == "speed" and not measure:
        raise TlkitError("--sort speed requires --measure", "tlkit backbones --measure --sort speed")
    if plot is not None:
        from tlkit.report.catalog_plot import check_plot

        check_plot(plot)

    def listed(speeds: dict[str, tuple[float, str]] | None) -> Catalogue:
        return list_backbones(
            sort=sort,
            match=match,
            max_params=_count(max_params, "--max-params"),
            max_operations=_count(max_operations, "--max-operations"),
            offline=offline,
            speeds=speeds,
        )

    found = listed(None)
    if measure:
        found = listed(_measured([entry.name for entry in found.entries], engine))
    if plot is not None:
        from tlkit.cli.console import ConsoleProgress
        from tlkit.report.catalog_plot import draw_catalogue

        with ConsoleProgress().phase("Drawing the plot", None):
            draw_catalogue(found.entries, plot)
    if as_json:
        typer.echo(json_text(found.to_json()))
    else:
        _present(found.entries)
        if not (match or offline or max_params or max_operations):
            _present_others(found)


@backbones.command("show", cls=GroupedCommand)
def show_command(
    name: BackboneName,
    image_size: ImageSize = None,
    layers: Annotated[bool, typer.Option("--layers", help="Also list every layer.", rich_help_panel=OUTPUT)] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List a network's stages, where --boundary can cut it.

    Example: tlkit backbones show resnet50-v2 --layers
    """
    from tlkit.cli.console import ConsoleProgress

    progress = ConsoleProgress()
    with progress.phase("Starting", None):
        from tlkit.api.backbones.show import stages_of

    found = stages_of(name, image_size, progress)
    if as_json:
        typer.echo(json_text(found.to_json()))
        return
    _present_stages(found)
    if layers:
        _present_layers(found)


@backbones.command("fetch", cls=GroupedCommand)
def fetch_command(
    names: BackboneNames,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Download weights ahead of time; resume interrupted downloads.

    Example: tlkit backbones fetch mobilenet-v2 resnet50
    """
    from tlkit.api.backbones.fetch import fetch_weights, to_json
    from tlkit.cli.console import ConsoleProgress

    fetched = fetch_weights(names, ConsoleProgress())
    if as_json:
        typer.echo(json_text(to_json(fetched)))
        return
    for each in fetched:
        if each.file is None:
            typer.echo(f"{each.name}: included in the installation")
            continue
        check = "checksum verified" if each.verified else "size verified (no checksum is published)"
        source = "already on this machine" if each.had else f"downloaded {each.bytes / 1e6:.0f} MB"
        typer.echo(printable(f"{each.name}: {source}, {check}: {each.file}"))


def _measured(names: list[str], engine: str) -> dict[str, tuple[float, str]]:
    from tlkit.cli.console import ConsoleProgress

    progress = ConsoleProgress()
    with progress.phase("Starting", None):
        from tlkit.api.backbones.measure import measure
    return measure(names, engine=engine, progress=progress)


def _count(text: str | None, option: str) -> float | None:
    from tlkit.plan.values import count_of

    return None if text is None else count_of(text, option)


def _present(entries: tuple[Entry, ...]) -> None:
    """Print a table, without rich, whose import would take longer than everything else."""
    columns = [(title, [cell(entry) for entry in entries]) for title, cell, _ in _COLUMNS]
    widths = [max(len(title), *map(len, cells)) for title, cells in columns]
    shown = set(range(len(columns)))
    if all(entry.ms is None for entry in entries):
        shown.discard(_MEASURED)
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns
        for index in sorted(shown, key=lambda index: -_COLUMNS[index][2]):
            if sum(widths[each] + 2 for each in shown) - 2 > room and _COLUMNS[index][2]:
                shown.discard(index)

    def line(cells: list[str]) -> str:
        aligned = [
            cell.ljust(width) if index in _LEFT else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
            if index in shown
        ]
        return "  ".join(aligned).rstrip()

    typer.secho(line([title for title, _ in columns]), bold=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        typer.echo(line(list(row)))
    typer.secho(
        "\nparams, G-ops (billion multiply-adds): without the classifier\n"
        "top-1, top-5: published ImageNet accuracy in %\n"
        "%/M, %/G: top-1 accuracy per million parameters and per G-op, counted with the classifier\n"
        "better: a network at least as accurate, with no more parameters or operations",
        dim=True,
    )


def _present_others(found: Catalogue) -> None:
    typer.secho("\nnot in Keras Applications", bold=True)
    for other in found.others:
        operations = "-" if other.operations is None else f"{other.operations / 1e9:.2g}"
        figures = f"{other.params / 1e6:.3g} M, {operations} G-ops, top-1 {other.top1:.1f} ({other.source})"
        typer.echo(f"{other.name}: {figures}; closest: {other.nearest}, {other.why}")
    typer.secho(found.how, dim=True)


def _present_stages(found: Stages) -> None:
    typer.secho(f"{found.name}, input {found.input_size}x{found.input_size}", bold=True)
    typer.echo(f"{found.params / 1e6:.2f} M parameters, {found.operations / 1e9:.3g} G-ops, without the classifier")
    width = max(len(stage.layer) for stage in found.stages)
    heading = (
        f"stage    output           {'last layer':<{width}}  params (M)   G-ops  sees (px)  early-layers  last-layers"
    )
    typer.secho(heading, bold=True)
    for stage, figures in zip(found.stages, found.figures, strict=True):
        output = f"{stage.height}x{stage.width}x{stage.channels}"
        early = "candidate" if stage.name in found.early else ""
        last = "cuts here" if stage.name == found.last else ""
        numbers = (
            f"{figures.params / 1e6:>10.2f}  {figures.operations / 1e9:>6.3f}  {_sides(figures.receptive_field):>9}"
        )
        line = f"{stage.name:<7}  {output:<15}  {stage.layer:<{width}}  {numbers}  {early:<12}  {last}"
        typer.echo(line.rstrip())


def _present_layers(found: Stages) -> None:
    names = max(len(layer.name) for layer in found.layers)
    kinds = max(len(layer.kind) for layer in found.layers)
    shapes = "output         kernel  stride    padding  formula      params  sees (px)"
    typer.secho(f"\n{'layer':<{names}}  {'kind':<{kinds}}  {shapes}", bold=True)
    for layer in found.layers:
        cells = (
            f"{layer.name:<{names}}",
            f"{layer.kind:<{kinds}}",
            f"{'x'.join(map(str, layer.shape)):<13}",
            f"{_sides(layer.kernel):>6}",
            f"{_sides(layer.stride):>6}",
            f"{_padding(layer.padding):>9}",
            f"{_sides(layer.by_formula):>7}",
            f"{layer.params or '':>10}",
            f"{_sides(layer.receptive_field) or 'all':>9}",
        )
        typer.echo("  ".join(cells).rstrip())
    typer.secho(
        "\nformula: (n + 2P - k)/S + 1, rounded down\n"
        "sees: receptive field, the side of the square of the image that one output cell depends on",
        dim=True,
    )


def _sides(pair: tuple[int, int] | None) -> str:
    """Format a pair as one number where both are equal."""
    if pair is None:
        return ""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _padding(padding: tuple[tuple[int, int], tuple[int, int]] | None) -> str:
    """Format padding: 1 (all around), 0+1 (before and after), or 0,3 (along height and width)."""
    if padding is None:
        return ""
    sides = [str(before) if before == after else f"{before}{after:+}" for before, after in padding]
    return sides[0] if sides[0] == sides[1] else ",".join(sides)


def _weights(entry: Entry) -> str:
    about = f", about {entry.bytes / 1e6:.0f} MB" if entry.weights == "download" and entry.bytes else ""
    return entry.weights + about


def _one(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


# title, cell, and the order in which columns are dropped on a narrow terminal (highest first; 0: never)
_COLUMNS = (
    ("name", lambda entry: entry.name, 0),
    ("params (M)", lambda entry: _one(entry.params / 1e6), 0),
    ("G-ops", lambda entry: _one(entry.operations / 1e9, 2), 0),
    ("input", lambda entry: str(entry.input_size), 2),
    ("top-1", lambda entry: _one(entry.top1), 0),
    ("top-5", lambda entry: _one(entry.top5), 4),
    ("source", lambda entry: entry.source, 5),
    ("%/M", lambda entry: _one(entry.top1_per_mparams, 2), 3),
    ("%/G", lambda entry: _one(entry.top1_per_goperations), 3),
    ("ms", lambda entry: _one(entry.ms), 0),
    ("weights", _weights, 0),
    ("better", lambda entry: entry.dominated_by or "", 1),
)
_LEFT = (0, 6, 10, 11)
_MEASURED = 9
