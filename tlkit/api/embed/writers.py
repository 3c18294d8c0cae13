"""Write vectors as CSV, NPZ or Parquet, row by row, so that memory does not grow with their number."""

from __future__ import annotations

import importlib.util
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tlkit.csvtext import escaped, line
from tlkit.errors import TlkitError
from tlkit.libraries import install_extra

BATCH_ROWS = 512  # rows written at once, in formats that write several
FILE, CONTENT, VECTOR = "file", "sha256", "vector"
Blocks = tuple[tuple[str, int], ...]


class Write(Protocol):
    """Writes one row: the image's file, SHA-256 of its bytes as hex, and its vector, float32 [columns]."""

    def __call__(self, file: str, content: str, vector: NDArray[np.float32], /) -> None:
        """Write the row."""
        ...


@dataclass(frozen=True)
class Layout:
    """The parts of a vector.

    Attributes:
        blocks: (name, width) of the pooled stages, one after another.
        note: What computed the vectors, for formats with metadata.
    """

    blocks: Blocks
    note: dict[str, Any]

    @property
    def columns(self) -> int:
        """Length of a vector."""
        return sum(width for _, width in self.blocks)

    @property
    def names(self) -> list[str]:
        """Column names: the stage and the number of its channel, from 0."""
        return [f"{name}_{channel}" for name, width in self.blocks for channel in range(width)]


Format = Callable[[Path, Layout], AbstractContextManager[Write]]


def format_of(path: Path, *, raw_csv: bool = False) -> Format:
    """Choose the writer for a file name.

    The writer opens the file and yields a function that takes rows; when the context ends without an exception, the
    file is complete. File names that are not Unicode are written with the escapes of `tlkit.csvtext`.

    Args:
        path: The file.
        raw_csv: Whether CSV leaves names that begin like a formula as they are.

    Raises:
        TlkitError: No format has that suffix, or a library it needs is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise TlkitError(f"--output must end in {', '.join(FORMATS)}, not '{path.name}'", "for example vectors.npz")
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise TlkitError("writing .parquet requires pyarrow", f"{install_extra('parquet')}, or write .npz or .csv")
    return partial(write_csv, raw=True) if suffix == ".csv" and raw_csv else FORMATS[suffix]


@contextmanager
def write_csv(path: Path, layout: Layout, *, raw: bool = False) -> Iterator[Write]:
    """Write one line per image, with nine digits, which preserve every float32."""
    numbers = ",".join(["%.9g"] * layout.columns)
    with path.open("w", newline="", encoding="utf-8") as out:
        out.write(line([FILE, CONTENT, *layout.names]))

        def write(file: str, content: str, vector: NDArray[np.float32], /) -> None:
            name = line([file], raw=raw)[:-1]
            out.write(f"{name},{content},{numbers % tuple(vector.tolist())}\n")

        yield write


@contextmanager
def write_npz(path: Path, layout: Layout) -> Iterator[Write]:
    """Write arrays ``file`` and ``sha256`` (text), ``vector`` (float32 [n, columns]), ``stage`` and ``width``.

    The header of an array holds its length, so rows wait in a temporary file until their number is known.
    """
    waiting = path.with_name(f"{path.name}-rows")
    files: list[str] = []
    contents = bytearray()
    with waiting.open("wb") as rows:

        def write(file: str, content: str, vector: NDArray[np.float32], /) -> None:
            files.append(escaped(file))
            contents.extend(bytes.fromhex(content))
            rows.write(np.ascontiguousarray(vector, dtype="<f4").data)

        yield write
    longest = max(map(len, files), default=1)
    hashes = (contents[start : start + 32].hex() for start in range(0, len(contents), 32))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _write_texts(archive, FILE, files, longest)
        _write_texts(archive, CONTENT, hashes, 64, len(files))
        _write_texts(archive, "stage", [name for name, _ in layout.blocks], max(len(name) for name, _ in layout.blocks))
        with _member(archive, "width", "<i8", (len(layout.blocks),)) as out:
            out.write(np.array([width for _, width in layout.blocks], dtype="<i8").data)
        with _member(archive, VECTOR, "<f4", (len(files), layout.columns)) as out, waiting.open("rb") as found:
            shutil.copyfileobj(found, out, 1 << 20)
    waiting.unlink()


def _write_texts(archive: zipfile.ZipFile, name: str, texts: Any, width: int, count: int | None = None) -> None:
    """Write an array of text, a few rows at a time."""
    rows, number = iter(texts), len(texts) if count is None else count
    with _member(archive, name, f"<U{width}", (number,)) as out:
        for start in range(0, number, BATCH_ROWS):
            some = [next(rows) for _ in range(min(BATCH_ROWS, number - start))]
            out.write(np.array(some, dtype=f"<U{width}").tobytes())


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, dtype: str, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    # a fixed date: the same rows give the same bytes
    entry = zipfile.ZipInfo(f"{name}.npy")
    with archive.open(entry, "w", force_zip64=True) as out:
        np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
        yield out


@contextmanager
def write_parquet(path: Path, layout: Layout) -> Iterator[Write]:
    """Write columns ``file``, ``sha256`` and ``vector`` (a list of fixed length); metadata say what computed them."""
    import pyarrow as pa
    from pyarrow import parquet

    vectors = pa.list_(pa.float32(), layout.columns)
    note = json.dumps({**layout.note, "blocks": dict(layout.blocks)})
    schema = pa.schema([(FILE, pa.string()), (CONTENT, pa.string()), (VECTOR, vectors)], metadata={"tlkit": note})
    some: list[tuple[str, str]] = []
    numbers = np.empty((BATCH_ROWS, layout.columns), dtype=np.float32)
    # through a file: Arrow takes no path that is not Unicode
    with path.open("wb") as file, closing(parquet.ParquetWriter(file, schema, use_dictionary=False)) as out:

        def flush() -> None:
            if some:
                flat = pa.array(numbers[: len(some)].reshape(-1))
                columns = [
                    *map(pa.array, zip(*some, strict=True)),
                    pa.FixedSizeListArray.from_arrays(flat, type=vectors),
                ]
                out.write_table(pa.Table.from_arrays(columns, schema=schema))
                some.clear()

        def write(name: str, content: str, vector: NDArray[np.float32], /) -> None:
            numbers[len(some)] = vector
            some.append((escaped(name), content))
            if len(some) == BATCH_ROWS:
                flush()

        yield write
        flush()


FORMATS: dict[str, Format] = {".parquet": write_parquet, ".npz": write_npz, ".csv": write_csv}


def blocks_of(taps: Blocks, wanted: Sequence[str]) -> Blocks:
    """Return the blocks with these names, in the order of the network."""
    return tuple(tap for tap in taps if tap[0] in wanted)
