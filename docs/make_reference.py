"""Write docs/reference/ from the code: python docs/make_reference.py.

The command line is read from Typer's commands, Python from signatures and docstrings, JSON from the records that
commands print (see reference_json.py).
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from reference_json import json_page

import tlkit
from tlkit.cli.app import app
from tlkit.cli.declared import ARGUMENTS, HEADINGS, OTHER

FOLDER = Path(__file__).with_name("reference")
MADE = "Made by `python docs/make_reference.py` from the code; a test compares.\n"
KINDS = {"int": "N", "integer": "N", "float": "NUMBER", "str": "TEXT", "text": "TEXT"}  # versions of Typer differ
SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Yields", "Example")


def cli_page() -> str:
    """The page of all commands with their options."""
    start = f"""# Command line

{MADE}
`tlkit COMMAND --help` prints the same. `--debug` shows tracebacks of errors; `tlkit --version` prints the version.

## Exit codes

| code | means |
|---|---|
| 0 | done |
| 2 | something that you can fix: one line `error:`, and `hint:` where something helps |
| 1 | a defect in tlkit |
| 130 | interrupted |

Results go to stdout, progress and messages to stderr.
"""
    commands = [_command(name, command) for name, command in _commands("tlkit", typer.main.get_command(app))]
    return "\n".join([start, *commands])


def _commands(prefix: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{prefix} {name}", command
        if hasattr(command, "commands"):
            yield from _commands(f"{prefix} {name}", command)


def _command(name: str, command: Any) -> str:
    said, _, example = inspect.cleandoc(command.help or "").partition("\n\nExample: ")
    groups: dict[str, list[str]] = {}
    for param in command.params:
        if getattr(param, "hidden", False) or param.name in ("help", "debug"):
            continue
        is_argument = param.param_type_name == "argument"
        heading = ARGUMENTS if is_argument else getattr(param, "rich_help_panel", None) or OTHER
        groups.setdefault(heading, []).append(_row(param, is_argument))
    lines = [f"## {name}", "", _escaped(said), ""]
    if example:
        lines += [f"Example: `{example}`", ""]
    for heading in sorted(groups, key=HEADINGS.index):
        lines += [f"| {heading.lower()} | |", "|---|---|", *groups[heading], ""]
    return "\n".join(lines)


def _row(param: Any, is_argument: bool) -> str:
    metavar, values = param.metavar or "", ""
    if "|" in metavar:  # which code in a table cannot hold everywhere
        each = metavar.strip("[]").split("|")
        values = f" {', '.join(f'`{value}`' for value in each[:-1])} or `{each[-1]}`."
        metavar = ""
    if is_argument:
        names = [metavar or param.name.upper()]
    else:
        if not metavar and not values and "BOOL" not in param.type.name.upper():
            metavar = KINDS.get(param.type.name.split()[0], param.type.name.upper())
        names = [*param.opts, *param.secondary_opts]
        names[-1] += f" {metavar}" if metavar else ""
    shown = ", ".join(f"`{each}`" for each in names)
    return f"| {shown} | {_escaped(param.help or '')}{values}{_default(param)} |"


def _default(param: Any) -> str:
    shown = getattr(param, "show_default", None)
    if isinstance(shown, str):
        return f" Default: {_escaped(shown)}."
    default = getattr(param.default, "value", param.default)
    if not isinstance(default, (str, int, float)) or isinstance(default, bool) or default == "":
        return ""
    return f" Default: `{default}`."


def _escaped(text: str) -> str:
    """Text as Markdown that is shown as it is."""
    return re.sub(r"([*<|_])", r"\\\1", text.replace("\\[", "[")).replace("\\|", "&#124;")


def python_page() -> str:
    """The page of every public name of the package."""
    start = f"""# Python

{MADE}
```python
import tlkit
```

Names are imported when first used. A user's mistake raises `tlkit.TlkitError`, which has a message and a hint.
"""
    functions = [name for name in tlkit.__all__ if name[0].islower()]
    classes = [name for name in tlkit.__all__ if name[0].isupper()]
    parts = [start, "## Functions", ""]
    parts += [_function(f"tlkit.{name}", getattr(tlkit, name), 3) for name in functions]
    parts += ["## Classes", ""]
    parts += [_class(name, getattr(tlkit, name)) for name in classes]
    return "\n".join(parts)


def _function(name: str, function: Callable[..., Any], level: int) -> str:
    head = f"{'#' * level} {name}"
    return "\n".join([head, "", "```text", _signature(name, function), "```", "", _docstring(function.__doc__), ""])


def _class(name: str, cls: type[Any]) -> str:
    parts = [f"### tlkit.{name}", "", _docstring(cls.__doc__), ""]
    for its, member in vars(cls).items():
        if its.startswith("_") or its == "to_json":
            continue
        if isinstance(member, property):
            parts += [f"- `.{its}`: {_first(member.__doc__)}"]
        elif inspect.isfunction(member) and not dataclasses.is_dataclass(member):
            parts += [f"- `.{its}({', '.join(_parameters(member)[1:])})`: {_first(member.__doc__)}"]
    return "\n".join([*parts, ""])


def _first(doc: str | None) -> str:
    return _escaped_prose(" ".join(inspect.cleandoc(doc or "").split("\n\n")[0].split()))


def _signature(name: str, function: Callable[..., Any]) -> str:
    given = _parameters(function)
    short = f"{name}({', '.join(given)})"
    if len(short) <= 100:
        return short
    return f"{name}(\n" + "".join(f"    {each},\n" for each in given) + ")"


def _parameters(function: Callable[..., Any]) -> list[str]:
    """Parameters with their defaults; types are said in the docstrings, and differ between versions of Python."""
    shown, keyword = [], False
    for each in inspect.signature(function).parameters.values():
        if each.kind is each.KEYWORD_ONLY and not keyword:
            keyword = True
            shown.append("*")
        prefix = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        default = getattr(each.default, "value", each.default)
        shown.append(prefix + each.name + ("" if each.default is each.empty else f"={default!r}"))
    return shown


def _docstring(doc: str | None) -> str:
    """A docstring in Google's form as Markdown."""
    lines, parts, section = inspect.cleandoc(doc or "").split("\n"), [], ""
    items: list[str] = []

    def close() -> None:
        if section == "Example":
            code = [line[4:] for line in items]
            parts.extend(["```text", *code, "```", ""])
        elif section:
            parts.extend([f"**{section}**", "", *_items(items), ""])
        items.clear()

    for line in [*lines, "End:"]:
        name = line.removesuffix(":")
        if line.endswith(":") and (name in SECTIONS or line == "End:"):
            close()
            section = name
        elif section and (line.startswith("    ") or not line):
            if line or section == "Example":
                items.append(line.replace("  # doctest: +SKIP", ""))
        else:
            close()
            section = ""
            parts.append(_escaped_prose(line))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).strip()


def _items(lines: list[str]) -> list[str]:
    found: list[str] = []
    for line in lines:
        text = line[4:]
        if not text.startswith(" ") and re.match(r"\*{0,2}[\w., ]+:( |$)", text):
            name, _, said = text.partition(":")
            found.append(f"- `{name.strip()}`: {_escaped_prose(said.strip())}")
        elif found:
            found[-1] += f" {_escaped_prose(text.strip())}"
        else:
            found.append(f"- {_escaped_prose(text.strip())}")
    return found


def _escaped_prose(text: str) -> str:
    """Prose of a docstring, in which code stands in one or two backticks."""
    parts = re.split(r"(``[^`]+``|`[^`]+`)", text)
    for n, part in enumerate(parts):
        parts[n] = f"`{part.strip('`')}`" if n % 2 else re.sub(r"([*<_])", r"\\\1", part)
    return "".join(parts)


PAGES = {"cli.md": cli_page, "python.md": python_page, "json.md": json_page}


def main(arguments: list[str]) -> int | str:
    """Write the pages, or with ``--check`` say which are old."""
    made = {name: "\n".join(line.rstrip() for line in page().splitlines()) + "\n" for name, page in PAGES.items()}
    if arguments == ["--check"]:
        old = [name for name, text in made.items() if (FOLDER / name).read_text(encoding="utf-8") != text]
        return f"docs/reference/{old[0]} is old: python docs/make_reference.py" if old else 0
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
