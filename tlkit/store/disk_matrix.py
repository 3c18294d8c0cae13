"""Feature vectors in a file: for more images than fit in memory."""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from tlkit.errors import TlkitError
from tlkit.memory import in_words
from tlkit.store.bound import cache_folder
from tlkit.store.features import DTYPE

Matrix: TypeAlias = NDArray[np.float32]
Change: TypeAlias = Callable[[Matrix], Matrix]
Numbers: TypeAlias = Sequence[int] | NDArray[Any]

TOGETHER = 4096  # rows in memory at a time
_AT_ONCE = 1024  # rows for which a block is read
_SPARSE = 4  # rows that lie this much apart are read one by one


class DiskMatrix:
    """float32 [n, d] in a file without a name, which goes with the process.

    They are kept in half precision, like those of the feature store, whose rounding they have already. Rows are read
    as they are asked for, never all. A part is another view of the same file. Threads may read at the same time.

    Attributes:
        shape: (n, d).
    """

    def __init__(self, rows: int, columns: int, _file: _Rows | None = None) -> None:
        """Make room for so many vectors.

        Raises:
            TlkitError: The disk has less room.
        """
        self._file = _file or _Rows(rows, columns)
        self._rows: NDArray[np.int64] | None = None
        self._columns: NDArray[np.int64] | None = None
        self._change: Change | None = None
        self.shape = (rows, columns)

    def __len__(self) -> int:
        return self.shape[0]

    def __setitem__(self, row: int, vector: Matrix) -> None:
        self._file.write(row, vector)

    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> Matrix: ...
    @overload
    def __getitem__(self, key: slice | Numbers) -> Matrix: ...
    def __getitem__(self, key: Any) -> Matrix:
        """Read a row, [d], or several, [m, d]."""
        wanted = np.arange(len(self))[key]
        rows = np.atleast_1d(wanted)
        found = self._file.read(rows if self._rows is None else self._rows[rows])
        if self._columns is not None:
            found = found[:, self._columns]
        if self._change is not None:
            found = self._change(found)
        return found if wanted.ndim else found[0]

    def part(self, rows: Numbers | None = None, columns: Sequence[int] | None = None) -> DiskMatrix:
        """Return some rows and columns, without reading them."""
        mine, theirs = self._rows, self._columns
        if rows is not None:
            chosen = np.asarray(rows, dtype=np.int64)
            mine = chosen if mine is None else mine[chosen]
        if columns is not None:
            chosen = np.asarray(columns, dtype=np.int64)
            theirs = chosen if theirs is None else theirs[chosen]
        height = len(self) if rows is None else len(rows)
        width = self.shape[1] if columns is None else len(columns)
        return self._view(height, width, mine, theirs, self._change)

    def changed(self, change: Change) -> DiskMatrix:
        """Return a view whose rows, float32 [m, d], are passed through a function as they are read."""
        return self._view(*self.shape, self._rows, self._columns, change)

    def _view(
        self,
        height: int,
        width: int,
        rows: NDArray[np.int64] | None,
        columns: NDArray[np.int64] | None,
        change: Change | None,
    ) -> DiskMatrix:
        view = DiskMatrix(height, width, self._file)
        view._rows, view._columns, view._change = rows, columns, change
        return view


class _Rows:
    """The file."""

    def __init__(self, rows: int, columns: int) -> None:
        self._width = columns * np.dtype(DTYPE).itemsize
        self._lock = threading.Lock()
        try:
            self._file = _unnamed()
            weakref.finalize(self, self._file.close)
            step = 1 << 24
            # written, not only claimed: a full disk is found out now, not after hours
            for start in range(0, rows * self._width, step):
                self._file.write(bytes(min(step, rows * self._width - start)))
            self._file.flush()
        except OSError as error:
            size = in_words(rows * self._width)
            raise TlkitError(
                f"no room on the disk for the features, {size}: {error.strerror or error}",
                "make room, or set TLKIT_CACHE to a folder on a larger disk",
            ) from error

    def write(self, row: int, vector: Matrix) -> None:
        with self._lock:
            self._file.seek(row * self._width)
            self._file.write(np.asarray(vector, dtype=DTYPE).tobytes())

    def read(self, rows: NDArray[np.int64]) -> Matrix:
        """Read rows, float32 [m, all columns]: in blocks where they lie close together, else one by one."""
        found = np.empty((len(rows), self._width // np.dtype(DTYPE).itemsize), dtype=np.float32)
        for start in range(0, len(rows), _AT_ONCE):
            found[start : start + _AT_ONCE] = self._read(rows[start : start + _AT_ONCE])
        return found

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        first, count = int(rows.min()), int(rows.max()) - int(rows.min()) + 1
        if count <= _SPARSE * len(rows):
            return self._block(first, count)[rows - first]
        return np.concatenate([self._block(int(row), 1) for row in rows])

    def _block(self, first: int, count: int) -> NDArray[np.float16]:
        with self._lock:
            self._file.seek(first * self._width)
            data = self._file.read(count * self._width)
        return np.frombuffer(data, dtype=DTYPE).reshape(count, -1)


def _unnamed() -> IO[bytes]:
    """Open a file without a name in the cache folder, or where temporary files are if that cannot be written."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)
    except OSError:
        return tempfile.TemporaryFile()


Vectors: TypeAlias = Matrix | DiskMatrix


def part_of(matrix: Vectors, rows: Numbers | None = None, columns: Sequence[int] | None = None) -> Vectors:
    """Return some rows and columns of either kind of matrix; of one on disk without reading them."""
    if isinstance(matrix, DiskMatrix):
        return matrix.part(rows, columns)
    found = matrix if rows is None else matrix[np.asarray(rows, dtype=np.int64)]
    return found if columns is None else np.ascontiguousarray(found[:, columns])


def in_memory(matrix: Vectors) -> Matrix:
    """Read everything: of a part that is known to be small."""
    return matrix[:] if isinstance(matrix, DiskMatrix) else matrix


def in_parts(matrix: Vectors, together: int = TOGETHER) -> Iterator[tuple[slice, Matrix]]:
    """Yield (which rows, these rows), float32 [at most ``together``, d]."""
    for start in range(0, len(matrix), together):
        its = slice(start, start + together)
        yield its, matrix[its]
