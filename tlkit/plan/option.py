"""Declare each option once: a dataclass field gives its type and default, an `Option` record the rest.

The command line, its checks, shell completion, the options that a plan decides and the reference page are all
generated from the declarations.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, get_type_hints

from tlkit.errors import TlkitError
from tlkit.files import absolute

DATA, STRATEGY, TIME, TRAINING, OUTPUT, MACHINE = "Data", "Strategy", "Time", "Training", "Output", "Machine"
TABLE = "Table"
ACCESS, LIMITS = "Access", "Limits"  # of a server
GROUPS = (DATA, TABLE, STRATEGY, TIME, TRAINING, OUTPUT, MACHINE)

PLAN, RECIPE = "plan", "recipe"
"""What decides an option in a run that follows a plan: the plan, or its recipe if it has one."""


@dataclass(frozen=True)
class Option:
    """The properties of an option other than its type and default.

    Attributes:
        help: What it does, verb first, in one or two sentences.
        group: The heading it is listed under, one of `GROUPS`.
        flags: Its spellings on the command line, such as ``("--output", "-o")``; empty: its name with hyphens.
        choices: The values it accepts; empty: any.
        also: What it accepts besides `choices`, such as "FILE"; empty: nothing.
        strict: Whether it accepts nothing but the choices, so that any other value can be refused here.
        names: Values for shell completion, if they differ from `choices`.
        at_least: Lower bound, inclusive.
        above: Lower bound, exclusive.
        at_most: Upper bound, inclusive.
        below: Upper bound, exclusive.
        metavar: Placeholder for its value in the help; empty: from the type or choices.
        if_none: What None means, for the help.
        parse: Converts the text on the command line to the value, if the type alone does not.
        is_path: Whether it is a file or folder, whose path is made absolute.
        path_if: Whether a value is a file, where only some are; None: none is.
        decided_by: `PLAN` or `RECIPE`; empty: it can be given along with a plan.
        advisor: Whether ``recommend`` has it too.
        tuning: Whether it only applies if weights are trained.
    """

    help: str
    group: str
    flags: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    also: str = ""
    strict: bool = True
    names: Callable[[], Sequence[str]] | None = None
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    metavar: str = ""
    if_none: str = ""
    parse: Callable[[str], Any] | None = None
    is_path: bool = False
    path_if: Callable[[str], bool] | None = None
    decided_by: str = ""
    advisor: bool = False
    tuning: bool = False


@dataclass(frozen=True)
class Declared:
    """An option declared in a dataclass.

    Attributes:
        name: Name of the field.
        kind: Type of the field, such as ``float | None``.
        default: Its default; ``MISSING`` if it has none.
        option: Its other properties.
    """

    name: str
    kind: Any
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """The first spelling of the option on the command line."""
        return self.option.flags[0].split("/")[0] if self.option.flags else f"--{self.name.replace('_', '-')}"

    def plain(self, value: Any) -> Any:
        """Convert a value as people write it to what the field holds: paths made absolute, text parsed.

        Raises:
            TlkitError: Text cannot be parsed.
        """
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str):
            return value
        if self.option.parse is not None:
            return self.option.parse(value)
        is_path = self.option.is_path or (self.option.path_if is not None and self.option.path_if(value))
        return absolute(value) if is_path else value

    def words(self, value: Any) -> list[str]:
        """Return the words that give this value on a command line; none for the default.

        Args:
            value: As `plain` takes it.
        """
        if self.plain(value) == self.default:
            return []
        if isinstance(value, bool):
            yes, _, no = (self.option.flags[0] if self.option.flags else self.flag).partition("/")
            return [yes if value else no]
        text = str(value)
        return [f"{self.flag}={text}"] if text.startswith("-") else [self.flag, text]

    def check(self, value: Any) -> None:
        """Refuse a value that is not one of the choices or is out of bounds.

        Raises:
            TlkitError: The value is refused; the hint names the closest choice and all choices.
        """
        if value is None:
            return
        if self.option.choices and self.option.strict and value not in self.option.choices:
            raise unknown_choice(self.flag, str(value), self.option.choices)
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check_bounds(value)

    def _check_bounds(self, value: float) -> None:
        option = self.option
        bounds = (
            ("at least", option.at_least, value >= (option.at_least or 0)),
            ("above", option.above, value > (option.above or 0)),
            ("at most", option.at_most, value <= (option.at_most or 0)),
            ("below", option.below, value < (option.below or 0)),
        )
        checks = [(words, bound, holds) for words, bound, holds in bounds if bound is not None]
        if checks and not (math.isfinite(value) and all(holds for _, _, holds in checks)):
            allowed = " and ".join(f"{words} {bound:g}" for words, bound, _ in checks)
            hint = self.option.help.split(". ")[0].rstrip(".")
            raise TlkitError(f"{self.flag} must be {allowed}, not {value:g}", hint)


def option(default: Any = MISSING, **properties: Any) -> Any:
    """Declare a dataclass field as an option, with its default and the arguments of `Option`."""
    return field(default=default, metadata={"option": Option(**properties)})


def declared(record: type[Any]) -> dict[str, Declared]:
    """Return the options of a dataclass by name, in the order of declaration."""
    kinds = get_type_hints(record)
    return {
        entry.name: Declared(entry.name, kinds[entry.name], entry.default, entry.metadata["option"])
        for entry in fields(record)
        if "option" in entry.metadata
    }


def unknown_choice(what: str, value: str, choices: Sequence[str]) -> TlkitError:
    """Return the error for a value that is not one of the choices; its hint names the closest choice and all others."""
    close = get_close_matches(value.lower(), choices, n=1)
    available = f"one of {', '.join(choices)}"
    return TlkitError(f"unknown {what} '{value}'", f"did you mean '{close[0]}'? {available}" if close else available)
