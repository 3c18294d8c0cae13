"""Command-line options made from those that a dataclass declares, and help that shows them in groups."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from tlkit.cli.exits import enable_debug
from tlkit.plan.option import GROUPS, MACHINE, OUTPUT, Declared, Option, declared

Parameters = list[inspect.Parameter]

JSON = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON, and nothing else on stdout.", rich_help_panel=OUTPUT),
]
DEBUG = Annotated[
    bool, typer.Option("--debug", callback=enable_debug, help="Show tracebacks.", rich_help_panel=MACHINE)
]


class GroupedCommand(TyperCommand):
    """A command whose help has a heading for each group of options, as wide as the terminal."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options by group."""
        formatter.width = max(formatter.width, min(shutil.get_terminal_size().columns, 140) - 2)
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                is_argument = param.param_type_name == "argument"
                heading = "Arguments" if is_argument else getattr(param, "rich_help_panel", None) or "Other"
                groups.setdefault(heading, []).append(record)
        for heading in ("Arguments", *GROUPS, "Other"):
            if heading in groups:
                with formatter.section(heading):
                    formatter.write_dl(groups[heading])


def options(record: type[Any], *, advisor: bool = False) -> Parameters:
    """The options of a dataclass as parameters of a command.

    Args:
        record: The dataclass.
        advisor: Only those that ``recommend`` takes.
    """
    return [_parameter(each) for each in declared(record).values() if each.option.advisor or not advisor]


def with_parameters(command: Callable[..., None], parameters: Parameters) -> Callable[..., None]:
    """Give a command that takes ``(context, **values)`` the parameters that Typer is to see."""
    first = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    every = [first, *parameters]
    command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in every}
    return command


def parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter that is declared by hand, with Typer's annotation."""
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation, default=default)


def given(
    context: typer.Context, values: Mapping[str, Any], record: type[Any], *, advisor: bool = False
) -> dict[str, Any]:
    """Return those of a dataclass's options that stand on the command line, parsed.

    Args:
        context: Of the command.
        values: By parameter name.
        record: The dataclass.
        advisor: Only those that ``recommend`` takes: a name that is not among them is the command's own.
    """
    return {
        name: its.option.parse(values[name]) if its.option.parse is not None else values[name]
        for name, its in declared(record).items()
        if (its.option.advisor or not advisor) and is_given(context, name)
    }


def is_given(context: typer.Context, name: str) -> bool:
    """Whether a parameter stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _parameter(its: Declared) -> inspect.Parameter:
    option = its.option
    values = option.names or (lambda: option.choices)
    said = typer.Option(
        *(option.flags or (its.flag,)),
        help=option.help,
        rich_help_panel=option.group,
        metavar=_metavar(option),
        show_default=option.if_none or its.default is not None,
        autocompletion=_completion(values) if option.choices or option.names else None,
    )
    return parameter(its.name, Annotated[_kind(its), said], its.default)


def _metavar(option: Option) -> str | None:
    if option.metavar:
        return option.metavar
    return f"[{'|'.join((*option.choices, *([option.also] if option.also else [])))}]" if option.choices else None


def _completion(values: Callable[[], Any]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [value for value in values() if value.startswith(incomplete)]

    return complete


def _kind(its: Declared) -> Any:
    """The type that Typer parses: text where the option parses it, a path where it is one."""
    if its.option.parse is not None:
        return str | None
    if its.option.is_path:
        return Path | None
    return its.kind


def short(path: Path) -> str:
    """A path relative to the current folder, where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else os.fspath(path)
