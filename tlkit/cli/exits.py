"""Exit codes and error messages."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

import typer

from tlkit.errors import TlkitError
from tlkit.libraries import missing_library

# newer releases of Typer carry their own copy of click; the base class of its public exception is in whichever it is
CLICK_ERROR: Any = typer.BadParameter.__mro__[2]
DEBUG = "TLKIT_DEBUG"


# what libraries and the system call it, besides MemoryError
_OUT_OF_MEMORY: Final = re.compile(
    "can't start new thread|cannot allocate memory|resource ?exhausted|resource_exhausted|out of memory|bad_alloc|"
    "failed to map segment|terminatedworkererror|brokenprocesspool|unable to allocate|memoryerror|"
    "failed with error '12'",
    re.IGNORECASE,
)


class Exit(IntEnum):
    """Exit codes, which scripts can rely on."""

    DONE = 0
    DEFECT = 1
    USER = 2
    INTERRUPTED = 130


def guarded(command: Callable[[], object]) -> int:
    """Run ``command``; turn every way it can end into an exit code and at most two lines on stderr."""
    try:
        code = command()
        sys.stdout.flush()
        if code == Exit.INTERRUPTED:  # newer releases of Typer turn the interrupt into this code themselves
            raise KeyboardInterrupt
        return code if isinstance(code, int) else Exit.DONE
    except TlkitError as error:
        return _fail(error.message, error.hint, Exit.USER)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", None, Exit.INTERRUPTED)
    except BrokenPipeError:
        return _left_alone()
    except SystemExit as ending:  # how Typer ends on a broken pipe
        if isinstance(ending.__context__, BrokenPipeError):
            return _left_alone()
        raise
    except CLICK_ERROR as error:
        return _fail(_one_line(error.format_message()).rstrip("."), _usage_hint(error), Exit.USER)
    except Exception as error:  # noqa: BLE001  (the last line of defence)
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    """Print an error that no command expects: what the machine lacks is the user's to mend, the rest is a defect."""
    what = _one_line(f"{type(error).__name__}: {error}")
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(what):
        return _fail("out of memory", "try a smaller --image-size, or fewer --workers", Exit.USER)
    if lacking := missing_library(error):
        return _fail(lacking.message, lacking.hint, Exit.USER)
    if isinstance(error, ImportError) and not (error.name or "").startswith("tlkit"):
        return _fail(f"a library cannot be loaded: {error}", "tlkit doctor says what is missing", Exit.USER)
    if isinstance(error, OSError):
        return _fail_of_system(error)
    if isinstance(error, RecursionError):  # no code of tlkit nests by itself, only what it is given does
        return _fail("folders or data are nested too deeply", None, Exit.USER)
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        name = printable(str(error.object)[:200])
        return _fail(f"a name is not valid Unicode: {name}", "rename the file or folder", Exit.USER)
    if isinstance(error, ValueError) and "null byte" in what:  # how Python refuses such a path
        return _fail("a path holds a null byte", None, Exit.USER)
    return _fail(f"a defect in tlkit: {what}", "please report it, with what --debug shows", Exit.DEFECT)


def _fail_of_system(error: OSError) -> int:
    """Print what the operating system refused. Results that can no longer be written are forgotten."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return _fail(f"cannot use {os.fsdecode(str(error.filename))[:200]}: {reason}", None, Exit.USER)
    code = _fail(f"the system refused a read or write: {reason}", None, Exit.USER)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        return code
    _forget_output()
    return code


def _left_alone() -> int:
    """Stop writing: the reader of the pipe has closed it, which is no error."""
    _forget_output()
    return Exit.DONE


def _forget_output() -> None:
    """Send what standard output still holds nowhere; else Python would try again at its end, and exit with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def enable_debug(value: bool) -> bool:
    """Option callback of ``--debug``."""
    if value:
        os.environ[DEBUG] = "1"
    return value


def _fail(message: str, hint: str | None, code: Exit) -> int:
    if os.environ.get(DEBUG, "") not in ("", "0"):
        traceback.print_exc()
    print(f"error: {_one_line(message)}", file=sys.stderr)  # noqa: T201
    if hint:
        print(f"hint: {_one_line(hint)}", file=sys.stderr)  # noqa: T201
    return code


def printable(text: str) -> str:
    """Escape what would move the cursor or colour the terminal: file names can contain anything."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _usage_hint(error: BaseException) -> str | None:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else None
