"""The part of an address after the question mark, checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request

from tlkit.serve.refusal import UNPROCESSABLE, Refused

TOP, MAX_TOP = 5, 1000
_YES, _NO = ("1", "true"), ("0", "false")


def check_names(request: Request, known: Iterable[str] = ()) -> None:
    """Refuse parameters that are not known, or are there twice.

    Raises:
        Refused: There is one.
    """
    names, seen = set(known), set()
    for name, _ in request.query_params.multi_items():
        if name not in names or name in seen:
            what = "is given twice" if name in names else "is not known"
            raise Refused(UNPROCESSABLE, f"the parameter '{name[:60]}' {what}", _known(names))
        seen.add(name)


def _known(names: set[str]) -> str:
    return f"one of {', '.join(sorted(names))}" if names else "this address takes none"


def top_of(request: Request) -> int:
    """Return ``?top=``, the number of classes to list.

    Raises:
        Refused: It is no number within 1..`MAX_TOP`.
    """
    return check_top(request.query_params.get("top", str(TOP)), "top")


def whole(value: Any) -> Any:
    """Return 2 for 2.0, which is a whole number in JSON too, and everything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def check_top(value: object, name: str) -> int:
    """Return a number of classes to list.

    Raises:
        Refused: It is no number within 1..`MAX_TOP`.
    """
    value = whole(value)
    text = value if isinstance(value, str) else str(value) if type(value) is int else ""
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_TOP:
        return int(text)
    raise Refused(UNPROCESSABLE, f"{name} must be a whole number from 1 to {MAX_TOP}")


def flag_of(request: Request, name: str) -> bool:
    """Return a parameter that is 1 or 0.

    Raises:
        Refused: It is neither.
    """
    value = request.query_params.get(name, "0")
    if value not in _YES + _NO:
        raise Refused(UNPROCESSABLE, f"{name} must be 1 or 0")
    return value in _YES
