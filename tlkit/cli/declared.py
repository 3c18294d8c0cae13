"""Command-line options built from those that a dataclass declares, and help that shows them in groups."""

from __future__ import annotations

import functools
import inspect
import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from tlkit.plan.option import (
    ACCESS,
    DATA,
    LIMITS,
    MACHINE,
    OUTPUT,
    STRATEGY,
    TABLE,
    TIME,
    TRAINING,
    Declared,
    Option,
    declared,
)

Parameters = list[inspect.Parameter]

ARGUMENTS, SELECTION, MODEL, SORTING, OTHER = "Arguments", "Selection", "Model", "Sorting", "Other"
MAYBE_PATHS = ("backbone", "weights", "name")  # parameters that take a name or a file
HEADINGS = (
    ARGUMENTS,
    DATA,
    TABLE,
    SELECTION,
    MODEL,
    STRATEGY,
    TIME,
    TRAINING,
    ACCESS,
    LIMITS,
    OUTPUT,
    SORTING,
    MACHINE,
    OTHER,
)
"""Headings of a command's help, in this order."""


class GroupedCommand(TyperCommand):
    """A command whose help has a heading for each group of options, as wide as the terminal.

    Before it runs, every path on the command line is looked up. Those of images to predict, explain or embed are not:
    each is a row of its own, with its error.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        _check_paths(self, ctx)
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options by group."""
        _write_groups(self, ctx, formatter)


class GroupedCommands(TyperGroup):
    """A command with sub-commands, whose help is grouped and whose paths are looked up likewise."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command or the sub-command."""
        _check_paths(self, ctx)
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options by group, then the sub-commands."""
        _write_groups(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _check_paths(command: Any, ctx: Any) -> None:
    for param in command.get_params(ctx):
        value = ctx.params.get(param.name)
        is_path = param.type.name in ("path", "file", "directory") or param.name in MAYBE_PATHS
        if is_path and isinstance(value, (str, Path)):  # not a list: each image is a row of its own
            from tlkit.files import check_path

            check_path(value, param.metavar if param.param_type_name == "argument" else param.opts[0])


def _write_groups(command: Any, ctx: Any, formatter: Any) -> None:
    formatter.width = max(formatter.width, min(shutil.get_terminal_size().columns, 140) - 2)
    groups: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None:
            is_argument = param.param_type_name == "argument"
            heading = ARGUMENTS if is_argument else getattr(param, "rich_help_panel", None) or OTHER
            name, text = record
            groups.setdefault(heading, []).append((name, text.replace("\\[", "[")))  # Typer up to 0.20 escapes for Rich
    for heading in sorted(groups, key=HEADINGS.index):
        with formatter.section(heading):
            formatter.write_dl(groups[heading])


def options(record: type[Any], *, advisor: bool = False) -> Parameters:
    """The options of a dataclass as parameters of a command.

    Args:
        record: The dataclass.
        advisor: Include only those that ``recommend`` takes.
    """
    return [_parameter(each) for each in declared(record).values() if each.option.advisor or not advisor]


def with_parameters(command: Callable[..., None], parameters: Parameters) -> Callable[..., None]:
    """Declare the parameters of a command that takes ``(context, **values)``, for Typer to read."""
    first = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    every = [first, *parameters]
    command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in every}
    return command


def with_options(record: type[Any], name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a dataclass in place of one parameter, which receives them as such a record.

    Args:
        record: The dataclass.
        name: The parameter.
    """

    def change(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)

        @functools.wraps(command)
        def run(**values: Any) -> None:
            its = {each: option.plain(values.pop(each)) for each, option in declared(record).items()}
            command(**values, **{name: record(**its)})

        own = [each for each in signature.parameters.values() if each.name != name]
        every = [*own, *options(record)]
        run.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in every}
        return run

    return change


def parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """Declare a parameter by hand, with Typer's annotation."""
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation, default=default)


def given(
    context: typer.Context, values: Mapping[str, Any], record: type[Any], *, advisor: bool = False
) -> dict[str, Any]:
    """Return the options of a dataclass that are on the command line, parsed.

    Args:
        context: Context of the command.
        values: Values by parameter name.
        record: The dataclass.
        advisor: Include only those that ``recommend`` takes; other names are options of the command itself.
    """
    return {
        name: its.option.parse(values[name]) if its.option.parse is not None else values[name]
        for name, its in declared(record).items()
        if (its.option.advisor or not advisor) and is_given(context, name)
    }


def command_line(words: Iterable[str], record: type[Any], values: Mapping[str, Any]) -> str:
    """Return a command to copy and paste, quoted for the shell; options at their defaults are left out.

    Args:
        words: What it begins with.
        record: The dataclass that declares the options.
        values: Options by name, as the user wrote them.
    """
    its = declared(record)
    return shlex.join([*words, *(word for name in its if name in values for word in its[name].words(values[name]))])


def is_given(context: typer.Context, name: str) -> bool:
    """Whether a parameter is on the command line."""
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
        autocompletion=completion(values) if option.choices or option.names else None,
    )
    return parameter(its.name, Annotated[_kind(its), said], its.default)


def _metavar(option: Option) -> str | None:
    if option.metavar:
        return option.metavar
    return choices_of(option.choices, option.also) if option.choices else None


def choices_of(choices: Iterable[str], also: str = "") -> str:
    """What the help shows for a value, such as ``[auto|litert|keras]``.

    Args:
        choices: The values.
        also: Anything else that is accepted, such as "FILE".
    """
    return f"[{'|'.join([*choices, *([also] if also else [])])}]"


def completion(values: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Shell completion from a function that returns the values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values() if value.startswith(incomplete)]

    return complete


def _kind(its: Declared) -> Any:
    """Return the type that Typer parses: text for an option with a parser of its own, a path for a path."""
    if its.option.parse is not None:
        return str | None
    if its.option.is_path:
        return Path | None
    return its.kind


def short(path: Path) -> str:
    """Return a path relative to the current folder if it is inside it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else os.fspath(path)
