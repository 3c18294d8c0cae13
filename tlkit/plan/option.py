"""An option declared once: its type and default are a dataclass field, the rest is this record beside it.

The command line, its checks, the shell's completion, what a plan decides and the reference page are all made from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, get_type_hints

from tlkit.errors import TlkitError

DATA, STRATEGY, TIME, TRAINING, OUTPUT, MACHINE = "Data", "Strategy", "Time", "Training", "Output", "Machine"
GROUPS = (DATA, STRATEGY, TIME, TRAINING, OUTPUT, MACHINE)

PLAN, RECIPE = "plan", "recipe"
"""Who decides an option of a run that carries out a plan: the plan, or its recipe where it has one."""


@dataclass(frozen=True)
class Option:
    """What is said of an option besides its type and default.

    Attributes:
        help: What it does, verb first, one or two sentences.
        group: The heading it stands under, one of `GROUPS`.
        flags: On the command line, such as ``("--output", "-o")``; empty: its name with hyphens.
        choices: The values it takes; empty: any.
        also: What it takes besides `choices`, such as "FILE"; empty: nothing.
        strict: Whether nothing but the choices is taken, so that anything else can be refused here.
        names: Values for the shell to complete, where they are not `choices`.
        at_least: Lower bound, included.
        above: Lower bound, excluded.
        at_most: Upper bound, included.
        below: Upper bound, excluded.
        metavar: What stands for its value in the help; empty: by type or choices.
        if_none: What is done where it is None, for the help.
        parse: From the text on the command line to the value, where that is more than its type.
        is_path: A file or folder: made absolute, so that it means the same from another folder.
        decided_by: `PLAN` or `RECIPE`; empty: it can be given beside a plan.
        advisor: Whether ``recommend`` takes it too.
        tuning: Whether it only applies where weights are trained.
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
    decided_by: str = ""
    advisor: bool = False
    tuning: bool = False


@dataclass(frozen=True)
class Declared:
    """An option of a dataclass with all that is known of it.

    Attributes:
        name: Of the field.
        kind: The field's type, such as ``float | None``.
        default: Its default; ``MISSING`` where it has none.
        option: The rest.
    """

    name: str
    kind: Any
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """The option's first spelling on the command line."""
        return self.option.flags[0].split("/")[0] if self.option.flags else f"--{self.name.replace('_', '-')}"

    def check(self, value: Any) -> None:
        """Refuse what is no such value or out of bounds.

        Raises:
            TlkitError: It is; the hint names what is near and what there is.
        """
        if value is None:
            return
        if self.option.choices and self.option.strict and value not in self.option.choices:
            raise unknown_choice(self.flag, str(value), self.option.choices)
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check_bounds(value)

    def _check_bounds(self, value: float) -> None:
        its = self.option
        bounds = (
            ("at least", its.at_least, value >= (its.at_least or 0)),
            ("above", its.above, value > (its.above or 0)),
            ("at most", its.at_most, value <= (its.at_most or 0)),
            ("below", its.below, value < (its.below or 0)),
        )
        given = [(words, bound, holds) for words, bound, holds in bounds if bound is not None]
        if given and not (math.isfinite(value) and all(holds for _, _, holds in given)):
            said = " and ".join(f"{words} {bound:g}" for words, bound, _ in given)
            raise TlkitError(f"{self.flag} must be {said}, not {value:g}")


def option(default: Any = MISSING, **said: Any) -> Any:
    """A dataclass field that is an option: its default, and the arguments of `Option`."""
    return field(default=default, metadata={"option": Option(**said)})


def declared(record: type[Any]) -> dict[str, Declared]:
    """The options of a dataclass by name, in the order they are declared."""
    kinds = get_type_hints(record)
    return {
        each.name: Declared(each.name, kinds[each.name], each.default, each.metadata["option"])
        for each in fields(record)
        if "option" in each.metadata
    }


def unknown_choice(what: str, value: str, choices: Sequence[str]) -> TlkitError:
    """The error for a value that is none of the choices; its hint names the nearest, and all there are."""
    near = get_close_matches(value.lower(), choices, n=1)
    there = f"one of {', '.join(choices)}"
    return TlkitError(f"unknown {what} '{value}'", f"did you mean '{near[0]}'? {there}" if near else there)
