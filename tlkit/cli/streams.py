"""The standard streams, made usable once, at the start of the process.

Standard output is where results go, so a command does not begin if it is closed or full. Messages are not worth a
result: if standard error is closed or full, they are dropped. Native code of libraries writes to file descriptor 2;
that leads nowhere, and tlkit's own messages go to a duplicate of it.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from tlkit.cli.exits import DEBUG
from tlkit.errors import TlkitError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

OUT, ERR = 1, 2


class _Forgiving(io.FileIO):
    """A file for messages: what cannot be written is dropped."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what can be written."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def forgiving(descriptor: int, encoding: str = "utf-8") -> TextIO:
    """Open a file descriptor for messages: what cannot be written, for want of space or a reader, is dropped."""
    if os.name == "nt":  # a console takes text there, not bytes
        return os.fdopen(descriptor, "w", encoding=encoding, errors="backslashreplace")
    raw = io.BufferedWriter(_Forgiving(descriptor, "w"))
    return io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", line_buffering=True)


def prepare() -> None:
    """Make standard input, output and error usable, whatever the process was started with.

    Raises:
        TlkitError: Standard output is closed or full.
    """
    closed = [number for number in (0, OUT, ERR) if _is_closed(number)]
    for number in closed:  # else the next file that is opened gets the number, and what is written to the stream
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(OUT, "w", encoding="utf-8", closefd=False)
    _separate_messages()
    if OUT in closed:
        raise _cannot_write("it is closed")
    try:
        os.write(OUT, b"")
    except OSError as error:
        raise _cannot_write(error.strerror or str(error)) from None


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def _separate_messages() -> None:
    """Let `sys.stderr` write to a duplicate of its descriptor, and what libraries write to the descriptor nowhere."""
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    sys.stderr = forgiving(os.dup(ERR), encoding)
    if os.environ.get(DEBUG, "") in ("", "0") and "--debug" not in sys.argv:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, ERR)
        os.close(nowhere)


def _cannot_write(reason: str) -> TlkitError:
    return TlkitError(f"cannot write to standard output: {reason}", "send it to a file, or to /dev/null")
