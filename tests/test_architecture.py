"""The house as docs/architecture.md has it: every module named, and no circles inside it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from conftest import ROOT

PACKAGE = ROOT / "tlkit"
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}


def imports(file: Path) -> set[str]:
    """The modules of tlkit that a file imports, at its top or later, for its types or to run."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{each.name}" for each in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    # a package stands for its modules only where something of its own is taken
    return {
        name
        for name in found
        if name in MODULES and not any(one.startswith(f"{name}.") for one in found & set(MODULES))
    }


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: imports(file) - {name} for name, file in MODULES.items()}
    while graph:
        free = {name for name, needed in graph.items() if not needed & set(graph)}
        assert free, {name: sorted(needed & set(graph)) for name, needed in graph.items()}
        graph = {name: needed for name, needed in graph.items() if name not in free}


def test_the_page_names_every_module_and_no_other() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    room, named = "", set()
    for line in page.splitlines():
        if heading := re.match(r"### `(\S+)/`", line):
            room = heading[1]
        elif row := re.match(r"\| `([a-z0-9_/]+)\.py` \|", line):
            named.add(f"{room}/{row[1]}.py")
    there = {
        str(file.relative_to(ROOT)) for file in PACKAGE.rglob("*.py") if file.name not in ("__init__.py", "__main__.py")
    }
    assert named - there == set(), "named, but not there"
    assert there - named == set(), "there, but not named"


def test_modules_fit_a_few_screens() -> None:
    long = {name: count for name, file in MODULES.items() if (count := len(file.read_text().splitlines())) > 330}
    assert long == {}
