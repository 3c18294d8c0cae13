"""Make the n-th write, fsync, rename or mkdir of a piece of code fail, or kill the process there."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from tlkit import durable

KILL = 0  # in place of an error number
CALLS = ("fsync", "rename", "replace", "mkdir", "link")
KILLED = 137


class Injector:
    """Counts operations and lets one of them fail.

    Args:
        at: The number of the operation, from 1; 0: none fails.
        error: The error number, or `KILL`.

    Attributes:
        count: Operations so far.
    """

    def __init__(self, at: int = 0, error: int = KILL) -> None:
        self.at, self.error, self.count = at, error, 0

    def due(self) -> bool:
        """Count an operation; return whether it fails."""
        self.count += 1
        return self.count == self.at

    def fail(self) -> None:
        """Fail now."""
        if self.error == KILL:
            os._exit(KILLED)
        raise OSError(self.error, os.strerror(self.error))

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap an operation that fails as a whole."""

        def wrapped(*args: Any, **options: Any) -> Any:
            if self.due():
                self.fail()
            return call(*args, **options)

        return wrapped

    def opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``open``: a write that fails has written half."""

        def opened(*args: Any, **options: Any) -> Any:
            file = real(*args, **options)
            mode = options.get("mode", args[1] if len(args) > 1 else "r")
            if not any(letter in mode for letter in "wax+"):
                return file
            return Written(file, self)

        return opened

    @contextmanager
    def active(self) -> Iterator[None]:
        """Watch the operations in a ``with`` block."""
        patches = [patch.object(os, name, self.around(getattr(os, name))) for name in CALLS]
        patches.append(patch.object(durable, "_rename_by_system", self.around(durable._rename_by_system)))
        patches += [patch.object(module, "open", self.opening(io.open)) for module in (io, builtins)]
        for each in patches:
            each.start()
        try:
            yield
        finally:
            for each in patches:
                each.stop()


class Written:
    """A file that is written to: all but its writes go to the real one."""

    def __init__(self, file: Any, injector: Injector) -> None:
        self._file, self._injector = file, injector

    def write(self, data: Any) -> Any:
        """Write, or write half and fail."""
        if self._injector.due():
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            self._injector.fail()
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def kill_at(number: int, work: Callable[[], object]) -> bool:
    """Run work in a child process that ends at once at an operation; return whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            with Injector(number, KILL).active():
                work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED), "the work failed by itself"
    return code == KILLED
