"""A limit of address space (``ulimit -v``), under which libraries end the process without a word.

OpenBLAS calls ``exit(1)`` and TensorFlow aborts where an allocation fails. So under such a limit the command runs in a
child process, and its end without a result is said by the parent: one line and exit code 2.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tlkit.cli.exits import guarded
from tlkit.errors import TlkitError


def supervised(run: Callable[[], int]) -> int:
    """Run a command, in a child process if the address space is limited; return its exit code."""
    if not is_limited():
        return run()
    said, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(said)
        try:
            return run()
        finally:
            os.write(tell, b".")
    os.close(tell)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child too
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: os.kill(child, received))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os.set_blocking(said, False)
    try:
        has_ended = bool(os.read(said, 1))
    except BlockingIOError:  # a process that the child has started still holds the other end
        has_ended = False
    if has_ended or code in (-signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT):
        return code if code >= 0 else 128 - code
    return guarded(_give_up)


def is_limited() -> bool:
    """Return whether the address space or the data of this process are limited."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return any(limit not in (resource.RLIM_INFINITY, -1) for limit in limits)


def _give_up() -> None:
    raise TlkitError("out of memory: a library ended the process", "raise the limit (ulimit -v)")
