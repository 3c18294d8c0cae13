"""Give functions the options of a dataclass as keyword arguments, in signature and docstring."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from tlkit.plan.option import Declared, declared

Function = TypeVar("Function", bound=Callable[..., Any])


def documented(record: type[Any], *, advisor: bool = False) -> Callable[[Function], Function]:
    """Give a function with ``**options`` the signature and the docstring of the options.

    Args:
        record: The dataclass that declares them.
        advisor: Include only those that ``recommend`` takes.
    """

    def change(function: Function) -> Function:
        signature = inspect.signature(function)
        fixed = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        its = [each for each in declared(record).values() if each.option.advisor or not advisor]
        made = [
            inspect.Parameter(o.name, inspect.Parameter.KEYWORD_ONLY, default=o.default, annotation=o.kind) for o in its
        ]
        positional = [each for each in fixed if each.kind is not each.KEYWORD_ONLY]
        keywords = [each for each in fixed if each.kind is each.KEYWORD_ONLY]
        function.__signature__ = signature.replace(parameters=[*positional, *made, *keywords])  # type: ignore[attr-defined]
        function.__doc__ = (function.__doc__ or "").replace("        options: As follows.\n", _block(its))
        return function

    return change


def _block(options: list[Declared]) -> str:
    return "".join(textwrap.indent(_line(each), " " * 8) + "\n" for each in options)


def _line(its: Declared) -> str:
    none = f" None: {its.option.if_none}." if its.option.if_none else ""
    return textwrap.fill(f"{its.name}: {its.option.help}{none}", width=112, subsequent_indent="    ")


def refuse_unknown(verb: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse keyword arguments that are not options, as Python does.

    Raises:
        TypeError: There is no such option.
    """
    if wrong := [name for name in given if name not in known]:
        raise TypeError(f"{verb}() got an unexpected keyword argument {wrong[0]!r}")
