"""Exit codes and error messages."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import typer

from tlkit.errors import TlkitError

# newer releases of Typer carry their own copy of click; the base class of its public exception is in whichever it is
CLICK_ERROR: Any = typer.BadParameter.__mro__[2]
DEBUG = "TLKIT_DEBUG"


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
    except MemoryError:
        return _fail("out of memory", "try a smaller --image-size, or fewer --workers", Exit.USER)
    except Exception as error:  # noqa: BLE001  (the last line of defence)
        what = _one_line(f"{type(error).__name__}: {error}")
        return _fail(f"a defect in tlkit: {what}", "please report it, with what --debug shows", Exit.DEFECT)


def _left_alone() -> int:
    """Stop writing: the reader of the pipe has closed it, which is no error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.DONE


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
