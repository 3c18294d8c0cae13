"""The one exception a user's mistake may raise."""

from __future__ import annotations


class TlkitError(Exception):
    """Something the user can put right: a bad path, option, image or file.

    The command line prints it as ``error: <message>`` and, if given, ``hint: <hint>``, and exits with 2.

    Args:
        message: What is wrong, in one line, without a full stop.
        hint: What to do about it, in one line.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
