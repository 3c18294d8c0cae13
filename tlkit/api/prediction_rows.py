"""Predictions as rows of a CSV, JSON Lines or Parquet file, and how many there are of each kind."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tlkit.api.predict import Prediction
from tlkit.csvtext import escaped, line
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.libraries import install_extra

BATCH_ROWS = 4096  # rows of Parquet written at once

Write = Callable[[Prediction], None]
Format = Callable[[Path], AbstractContextManager[Write]]


@dataclass
class Counts:
    """How many images there are of each kind; every image is of one.

    Attributes:
        labelled: Images that got a label and need no second look.
        unknown: Images unlike anything the bundle was trained on.
        review: Images of known kinds whose probability is below the threshold.
        unreadable: Images without a label.
    """

    labelled: int = 0
    unknown: int = 0
    review: int = 0
    unreadable: int = 0

    def add(self, row: Prediction) -> None:
        """Count an image."""
        kind = kind_of(row)
        setattr(self, kind, getattr(self, kind) + 1)

    def of(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Count rows, plain data, while they pass."""
        for row in rows:
            self.add(prediction_from(row))
            yield row

    @property
    def images(self) -> int:
        """The number of images."""
        return self.labelled + self.unknown + self.review + self.unreadable

    def __str__(self) -> str:
        parts = [f"{self.labelled:,} labelled"]
        parts += [f"{self.unknown:,} unknown"] if self.unknown else []
        parts += [f"{self.review:,} to review"] if self.review else []
        parts += [f"{self.unreadable:,} unreadable"] if self.unreadable else []
        return ", ".join(parts)

    def to_json(self) -> dict[str, int]:
        """Return plain data."""
        return {
            "images": self.images,
            "labelled": self.labelled,
            "unknown": self.unknown,
            "review": self.review,
            "unreadable": self.unreadable,
        }


def kind_of(row: Prediction) -> str:
    """Return the field of `Counts` that an image belongs to."""
    if row.error is not None:
        return "unreadable"
    if row.unknown:
        return "unknown"
    return "review" if row.review else "labelled"


@dataclass(frozen=True)
class CsvRows:
    """Predictions as lines of CSV.

    Attributes:
        top: Number of classes with a column each; 1: the label alone.
        review: Whether there is a column that says which images to review.
        raw: Whether cells that begin like a formula stay as they are.
    """

    top: int = 1
    review: bool = False
    raw: bool = False

    @property
    def header(self) -> str:
        """The first line: the names of the columns."""
        more = [f"{name}_{rank}" for rank in range(2, self.top + 1) for name in ("label", "probability")]
        review = ["review"] if self.review else []
        return line(["file", "label", "probability", "unknown", "error", *review, *more])

    def line(self, row: Prediction) -> str:
        """One image."""
        cells = [row.file, row.label or "", _number(row.probability), _truth(row.unknown), row.error or ""]
        cells += [_truth(row.review)] if self.review else []
        others = [*row.top[1 : self.top], *[("", None)] * self.top][: self.top - 1]
        for label, probability in others:
            cells += [label, _number(probability)]
        return line(cells, raw=self.raw)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _truth(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def prediction_from(data: Any) -> Prediction:
    """Return the prediction that `Prediction.to_json` wrote.

    Raises:
        KeyError, TypeError: It is something else.
    """
    top = tuple((each["label"], each["probability"]) for each in data["top"])
    return Prediction(**{**data, "top": top})


def format_of(path: Path, rows: CsvRows) -> Format:
    """Choose the writer for a file name.

    The writer opens the file and yields a function that takes rows; when the context ends without an exception, the
    file is complete. In Parquet, names that are no text are written with the escapes of `tlkit.csvtext`.

    Args:
        path: The file.
        rows: How CSV is written.

    Raises:
        TlkitError: No format has that suffix, or a library it needs is not installed.
    """
    suffix = path.suffix.lower()
    forms: dict[str, Format] = {".csv": partial(_write_csv, rows), ".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if suffix not in forms:
        raise TlkitError(f"--output must end in {', '.join(forms)}, not '{path.name}'", "for example labels.csv")
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise TlkitError("writing .parquet requires pyarrow", f"{install_extra('parquet')}, or write .csv or .jsonl")
    return forms[suffix]


@contextmanager
def _write_csv(rows: CsvRows, path: Path) -> Iterator[Write]:
    with path.open("w", newline="", encoding="utf-8") as out:
        out.write(rows.header)
        yield lambda row: _ignore(out.write(rows.line(row)))


@contextmanager
def _write_jsonl(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as out:
        yield lambda row: _ignore(out.write(f"{json_text(row.to_json())}\n"))


def _ignore(_: int) -> None: ...


@contextmanager
def _write_parquet(path: Path) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow import parquet

    one = pa.struct([("label", pa.string()), ("probability", pa.float32())])
    kinds = {
        "file": pa.string(),
        "label": pa.string(),
        "probability": pa.float32(),
        "unknown": pa.bool_(),
        "error": pa.string(),
        "review": pa.bool_(),
        "top": pa.list_(one),
    }
    schema = pa.schema(list(kinds.items()))
    some: list[dict[str, Any]] = []
    # through a file: Arrow takes no path that is not Unicode
    with path.open("wb") as file, closing(parquet.ParquetWriter(file, schema)) as out:

        def flush() -> None:
            if some:
                out.write_table(pa.Table.from_pylist(some, schema=schema))
                some.clear()

        def write(row: Prediction) -> None:
            some.append(_escaped(row.to_json()))
            if len(some) == BATCH_ROWS:
                flush()

        yield write
        flush()


def _escaped(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _escaped(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_escaped(value) for value in data]
    return escaped(data) if isinstance(data, str) else data
