"""Predictions as rows on stdout, each written as soon as it is known: table, CSV, JSON Lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tlkit.cli.exits import printable
from tlkit.jsontext import json_text

if TYPE_CHECKING:
    from tlkit.api.predict import Prediction
    from tlkit.api.prediction_rows import Counts, CsvRows


NOTE = len("unknown")  # width of the column that says so


def show_json(rows: Iterable[Prediction], counts: Counts) -> None:
    """Print JSON Lines."""
    for row in rows:
        print(json_text(row.to_json()), flush=True)  # noqa: T201  (streams: a pipe sees each row at once)
        counts.add(row)


def show_csv(rows: Iterable[Prediction], counts: Counts, form: CsvRows) -> None:
    """Print CSV."""
    for number, row in enumerate(rows):
        if number == 0:  # not earlier: on an error stdout must stay empty
            sys.stdout.write(form.header)
        sys.stdout.write(form.line(row))
        sys.stdout.flush()  # streams: a pipe sees each row at once
        counts.add(row)


def show_table(rows: Iterable[Prediction], counts: Counts, top: int) -> None:
    """Print one line per image, with the file name last, as it may be long.

    Args:
        rows: The predictions.
        counts: What they are counted in.
        top: Number of classes in a line.
    """
    from rich.text import Text

    from tlkit.cli.console import out

    console, width = out(), 0
    for row in rows:
        if not width:
            width = max([5, *(len(label) for label, _ in row.top)])
            second = f"{'next best' if top > 1 else '':<{_rest(width, top)}}"
            heading = f"{'label':<{width}}  probability  {second}  {'note':<{NOTE}}  file"
            console.print(Text(heading, style="bold"), soft_wrap=True)
        if row.error is not None:
            line = Text.assemble((f"{'-':<{width}}  {row.error}", "red"), f"  {printable(row.file)}")
        else:
            second = ", ".join(f"{printable(label)} {probability:.0%}" for label, probability in row.top[1:top])
            rest = f"  {row.probability:>11.1%}  {second:<{_rest(width, top)}}  "
            note = "unknown" if row.unknown else "review" if row.review else ""
            first = f"{printable(str(row.label)):<{width}}"
            line = Text.assemble((first, "green"), rest, (f"{note:<{NOTE}}  ", "yellow"), printable(row.file))
        console.print(line, soft_wrap=True)
        counts.add(row)


def _rest(width: int, top: int) -> int:
    """Return the width of the column of the next best classes."""
    return max(0, (width + 7) * (top - 1) - 2)
