"""``tlkit cache``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.exits import printable
from tlkit.cli.options import Debug, Json
from tlkit.jsontext import json_text

if TYPE_CHECKING:
    from tlkit.api.cache import CacheContents, Cleared


def cache_command(
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete everything; it is computed again when needed.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what is kept on disk between runs, or clear it.

    Example: tlkit cache --clear
    """
    from tlkit.api import cache

    result: CacheContents | Cleared = cache.clear() if clear else cache.contents()
    if as_json:
        typer.echo(json_text(result.to_json()))
    elif isinstance(result, cache.Cleared):
        left = f"; {_size(result.left)} could not be deleted" if result.left else ""
        typer.echo(printable(f"freed {_size(result.freed)} in {result.folder}{left}"))
    else:
        _present(result)


def _present(result: CacheContents) -> None:
    from rich.text import Text

    from tlkit.cli.console import out

    console = out()
    if not result.entries:
        console.print(Text(printable(f"the cache is empty: {result.folder}")), soft_wrap=True)
        return
    used = f"{result.folder}: {_size(result.bytes)} of {_size(result.limit)}"
    console.print(Text(printable(used), style="bold"), soft_wrap=True)
    width = max(4, *(len(printable(entry.name)) for entry in result.entries))
    heading = f"\n{'section':<8}  {'name':<{width}}  images      size  last used"
    console.print(Text(heading, style="bold"), soft_wrap=True)
    for entry in result.entries:
        count = "-" if entry.items is None else str(entry.items)
        when = "-" if entry.used is None else f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}"
        name = f"{printable(entry.name):<{width}}"
        console.print(Text(f"{entry.section:<8}  {name}  {count:>8}  {_size(entry.bytes):>8}  {when}"), soft_wrap=True)


def _size(count: int) -> str:
    """Format bytes in the units of ``TLKIT_CACHE_SIZE``: 999 B, 1.5 MB, 4 GB."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
