"""Write docs/options.md from what the options say of themselves: python docs/make_options.py."""

from __future__ import annotations

import sys
from pathlib import Path

from tlkit.api.train.options import TrainOptions
from tlkit.plan.option import GROUPS, PLAN, RECIPE, Declared, declared

PAGE = Path(__file__).with_name("options.md")
HEADER = "| option | name | default | what it does | |\n|---|---|---|---|---|"
START = """# Options of `tlkit train` and `tlkit recommend`

Made by `python docs/make_options.py` from `tlkit/api/train/options.py`; a test compares. In Python, `tlkit.train` and
`tlkit.recommend` take the same options as keyword arguments, under the names in the second column.

The options of a table (`--label-column`, `--root` and so on) are also options of `tlkit check` and `tlkit evaluate`;
`--file-column` and `--root` of `predict`, `explain` and `embed` too ([labels.md](labels.md)).

A time in text needs its unit: `90s`, `10m` or `1.5h`. In Python, `time_budget` may also be a number of seconds.

Options marked **r** are also options of `tlkit recommend`. With `--plan FILE`, the plan decides those marked **p**;
where it holds a recipe, also those marked **c**. Those marked **t** only apply where weights are trained.
"""


def page() -> str:
    """The whole page."""
    options = declared(TrainOptions).values()
    parts = [START]
    for group in GROUPS:
        rows = [_row(each) for each in options if each.option.group == group]
        if rows:
            parts.append("\n".join([f"## {group}\n", HEADER, *rows, ""]))
    return "\n".join(parts)


def _row(its: Declared) -> str:
    option = its.option
    flags = ", ".join(f"`{flag}`" for flag in (option.flags or (its.flag,)))
    takes = [*option.choices, *([option.also] if option.also else [])]
    said = option.help + (f" One of {', '.join(f'`{each}`' for each in takes)}." if takes else "")
    marks = {"r": option.advisor, "p": option.decided_by == PLAN, "c": option.decided_by == RECIPE, "t": option.tuning}
    shown = " ".join(mark for mark, applies in marks.items() if applies)
    cells = (flags, f"`{its.name}`", _default(its), f"{said}{_bounds(its)}", shown)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _default(its: Declared) -> str:
    if its.option.if_none:
        return its.option.if_none.replace("<", "&lt;")
    return "none" if its.default is None else f"`{str(its.default).lower() if its.kind is bool else its.default}`"


def _bounds(its: Declared) -> str:
    option = its.option
    bounds = (
        ("at least", option.at_least),
        ("above", option.above),
        ("at most", option.at_most),
        ("below", option.below),
    )
    said = " and ".join(f"{words} {bound:g}" for words, bound in bounds if bound is not None)
    return f" {said[:1].upper()}{said[1:]}." if said else ""


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(PAGE.read_text(encoding="utf-8") != page() and "docs/options.md is old: python docs/make_options.py")
    PAGE.write_text(page(), encoding="utf-8")
