"""The exception for problems that the user can fix."""

from __future__ import annotations


class TlkitError(Exception):
    """A problem that the user can fix: a bad path, option, image or file.

    The command line prints it as ``error: <message>`` and, if given, ``hint: <hint>``, and exits with 2.

    Args:
        message: The problem, in one line without a full stop.
        hint: How to fix it, in one line.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
