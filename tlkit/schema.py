"""Check plain data, as JSON gives it, against the annotations of a record, and make the record.

Types, bounds and lengths stand in the record itself, as annotations:

    @dataclass(frozen=True)
    class Flips:
        harmless: bool
        images: Count
        plain: Share

`parsed` walks these annotations. It knows what JSON can hold: bool, int, float, str, None, tuples, dictionaries with
text keys, records, and unions of these.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

MAX_SIDE = 4096  # pixels: the largest side of a network's input
_SHOWN = 60  # characters of a wrong value in a message


class WrongDataError(ValueError):
    """Data that a record cannot hold; the message names the field and what is wrong with it."""


@dataclass(frozen=True)
class Within:
    """Bounds of a number, inclusive.

    Attributes:
        at_least: Lower bound.
        at_most: Upper bound.
        finite: Whether NaN and infinities are refused.
    """

    at_least: float = -math.inf
    at_most: float = math.inf
    finite: bool = True


@dataclass(frozen=True)
class Length:
    """Bounds of the length of a text (in characters) or of the number of items, inclusive."""

    at_least: int = 0
    at_most: int = 100_000


@dataclass(frozen=True)
class Matching:
    """What a text must look like: all of it matches a pattern, which ``what`` names."""

    pattern: str
    what: str


@dataclass(frozen=True)
class OneOf:
    """The only values that are allowed."""

    values: tuple[str, ...]


Share = Annotated[float, Within(0, 1)]
Count = Annotated[int, Within(0, 10**15)]
Positive = Annotated[int, Within(1, 10**15)]
Side = Annotated[int, Within(1, MAX_SIDE)]
Seed = Annotated[int, Within(0, 2**63 - 1)]
Loss = Annotated[float, Within(finite=False)]
Name = Annotated[str, Length(1, 4096)]
Sentence = Annotated[str, Length(0, 20_000)]
Digest = Annotated[str, Matching(r"[0-9a-f]{64}", "a SHA-256 in hex")]


def parsed(hint: Any, value: Any, where: str = "") -> Any:
    """Return plain data as what an annotation says: lists become tuples, dictionaries records.

    Args:
        hint: A type, an ``Annotated`` type with the bounds of this module, or a dataclass.
        value: Plain data.
        where: Name of the data, for the message.

    Raises:
        WrongDataError: The data has another type, is out of bounds, or a record's fields are missing or unknown.
    """
    if hint is Any:
        return value
    origin = get_origin(hint)
    if origin is Annotated:
        base, *rules = get_args(hint)
        for rule in rules:
            _check_size(rule, value, where)
        found = parsed(base, value, where)
        for rule in rules:
            _check(rule, found, where)
        return found
    if origin in (Union, types.UnionType):
        return _parsed_union(get_args(hint), value, where)
    if is_dataclass(hint):
        return _parsed_record(hint, value, where)
    if origin is tuple:
        return _parsed_tuple(get_args(hint), value, where)
    if origin is not None and issubclass(origin, Mapping):
        return _parsed_mapping(get_args(hint), value, where)
    if origin is not None and issubclass(origin, Sequence):
        return _parsed_tuple((get_args(hint)[0], ...), value, where)
    return _parsed_plain(hint, value, where)


@lru_cache(maxsize=64)
def annotations_of(record: Any) -> dict[str, Any]:
    """Return the annotations of a record's fields, with their bounds."""
    hints = get_type_hints(record, include_extras=True)
    return {each.name: hints[each.name] for each in fields(record)}


def required(record: Any) -> set[str]:
    """Return the names of a record's fields without a default."""
    return {each.name for each in fields(record) if each.default is MISSING and each.default_factory is MISSING}


def _parsed_record(record: Any, value: Any, where: str) -> Any:
    if isinstance(value, record):
        return value
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = annotations_of(record)
    if odd := (set(value) - set(hints)) | (required(record) - set(value)):
        raise WrongDataError(f"{where or 'the data'} has missing or unknown fields: {listed(odd)}")
    place = f"{where}." if where else ""
    return record(**{name: parsed(hints[name], given, f"{place}{name}") for name, given in value.items()})


def _parsed_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    rest = [kind for kind in kinds if kind is not types.NoneType]
    if len(rest) == 1:
        return parsed(rest[0], value, where)
    problems = []
    for kind in rest:
        try:
            return parsed(kind, value, where)
        except WrongDataError as error:
            problems.append(error)
    raise problems[-1]


def _parsed_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong(where, "a list", value)
    if len(kinds) == 2 and kinds[1] is ...:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise WrongDataError(f"{where} must have {len(kinds)} items, not {len(value)}")
    return tuple(
        parsed(kind, item, f"{where}[{number}]") for number, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _parsed_mapping(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    keys, values = kinds
    return {
        parsed(keys, key, f"a key of {where}"): parsed(values, item, f"{where}.{key}") for key, item in value.items()
    }


def _parsed_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > 10**300:
            raise _wrong(where, "a number of usual size", value)
        return value
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
        raise _wrong(where, names.get(kind, kind.__name__), value)
    return value


def _check_size(rule: Any, value: Any, where: str) -> None:
    """Check the length first: what is too long is not looked at item by item."""
    if isinstance(rule, Length) and isinstance(value, str | list | tuple | dict):
        size = len(value)
        if not rule.at_least <= size <= rule.at_most:
            what = "characters" if isinstance(value, str) else "items"
            bound = f"at least {rule.at_least}" if size < rule.at_least else f"at most {rule.at_most}"
            raise WrongDataError(f"{where} must have {bound} {what}, not {size}")


def _check(rule: Any, value: Any, where: str) -> None:
    if isinstance(rule, Within):
        if rule.finite and isinstance(value, float) and not math.isfinite(value):
            raise _wrong(where, "a finite number", value)
        if value < rule.at_least or value > rule.at_most:
            bound = f"at least {rule.at_least:g}" if value < rule.at_least else f"at most {rule.at_most:g}"
            raise _wrong(where, bound, value)
    elif isinstance(rule, OneOf) and value not in rule.values:
        raise _wrong(where, f"one of {', '.join(rule.values)}", value)
    elif isinstance(rule, Matching) and not re.fullmatch(rule.pattern, value):
        raise _wrong(where, rule.what, value)


def listed(names: set[str]) -> str:
    """Return names in order, as many as fit a line."""
    return ", ".join(_short(name) for name in sorted(names)[:8]) + (", ..." if len(names) > 8 else "")


def _wrong(where: str, wanted: str, value: Any) -> WrongDataError:
    return WrongDataError(f"{where or 'the data'} must be {wanted}, not {_described(value)}")


def _described(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) > 10**18:
        return "a number of that size"
    return _short(f"'{value}'" if isinstance(value, str) else str(value))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
