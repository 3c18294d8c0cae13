"""Why a file is not read."""

from __future__ import annotations


class RefusedError(Exception):
    """The reason why an image cannot be read, without the file's name."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def not_supported(kind: str) -> RefusedError:
    """Return the error for a sound file of a kind that cannot be decoded here."""
    return RefusedError(f"not supported: {kind}", "save it as PNG or JPEG, with 8 bits a channel")
