"""Why a request is refused: a status code, a message and a hint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BAD, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, SLOW = 400, 401, 403, 404, 408
LARGE, WRONG_TYPE, UNPROCESSABLE, BUSY = 413, 415, 422, 503


class Refused(Exception):  # noqa: N818  (reads like what happens)
    """A request that is refused.

    Args:
        status: The HTTP status code.
        message: What is wrong, in one line.
        hint: What to do, in one line.
        headers: Further headers of the response.
        rows: Rows of the images, if they say more.
    """

    def __init__(
        self,
        status: int,
        message: str,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
        rows: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.headers = dict(headers or {})
        self.rows = rows

    def to_json(self, request_id: str) -> dict[str, Any]:
        """Return the body of the response."""
        found: dict[str, Any] = {"error": self.message, "hint": self.hint, "request_id": request_id}
        return found if self.rows is None else {**found, "predictions": self.rows}


def busy(message: str, seconds: float) -> Refused:
    """Refuse a request for now.

    Args:
        message: Why.
        seconds: When the client should try again.
    """
    return Refused(BUSY, message, headers={"Retry-After": str(max(1, round(seconds)))})
