"""Responses: rows of predictions as JSON or JSON Lines, an explanation as PNG, and errors."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tlkit.jsontext import json_text
from tlkit.serve.models import Result
from tlkit.serve.refusal import LARGE, UNPROCESSABLE, Refused

JSON, LINES, PNG = "application/json", "application/x-ndjson", "image/png"
LARGE_REASON = "too large"  # how the reason begins if an image has too many pixels


def json_response(data: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return plain data as a response."""
    return Response(json_text(data), status, headers, JSON)


def refused_response(refused: Refused, request_id: str) -> Response:
    """Return the response for a request that is refused."""
    return json_response(refused.to_json(request_id), refused.status, refused.headers)


def row_of(result: Result, explain: bool) -> dict[str, Any]:
    """Return the row of an image, as ``tlkit predict --json`` prints it; with its explanation, if asked for."""
    row = result.row.to_json()
    if explain:
        row["explanation"] = None if result.explanation is None else _data_url(result.explanation)
    return row


def _data_url(png: bytes) -> str:
    return f"data:{PNG};base64,{base64.b64encode(png).decode()}"


def rows_response(request: Request, results: Sequence[Result], explain: bool) -> Response:
    """Return the rows in the form that the client accepts.

    Raises:
        Refused: No image could be read.
    """
    rows = [row_of(result, explain) for result in results]
    check_labelled(results, rows)
    accepts = request.headers.get("accept", "")
    headers = {"Vary": "Accept"}
    if explain and PNG in accepts and len(results) == 1 and results[0].explanation is not None:
        return Response(results[0].explanation, 200, headers, PNG)
    if LINES in accepts:
        return Response("".join(json_text(row) + "\n" for row in rows), 200, headers, LINES)
    return json_response(rows, headers=headers)


def check_labelled(results: Sequence[Result], rows: list[dict[str, Any]] | None = None) -> None:
    """Refuse a request none of whose images could be read, as the command does with its exit code.

    Raises:
        Refused: None could be read.
    """
    errors = [str(result.row.error) for result in results if result.row.label is None]
    if len(errors) < len(results):
        return
    status = LARGE if all(error.startswith(LARGE_REASON) for error in errors) else UNPROCESSABLE
    message = f"the image cannot be read: {errors[0]}" if len(errors) == 1 else "none of the images can be read"
    raise Refused(status, message, rows=rows)
