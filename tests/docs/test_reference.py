"""The reference pages are what the code says, and hold what commands print."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Ran, Trained

PAGES = ROOT / "docs" / "reference"


def test_the_reference_pages_are_up_to_date() -> None:
    command = [sys.executable, ROOT / "docs" / "make_reference.py", "--check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def described(command: str) -> set[str]:
    """The fields that the page of JSON has for a command."""
    text = (PAGES / "json.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {command}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE))


def test_every_command_that_prints_json_is_described() -> None:
    commands = (PAGES / "cli.md").read_text(encoding="utf-8").split("\n## tlkit ")[1:]
    names = {each.split("\n", 1)[0] for each in commands if "| `--json` |" in each}
    text = (PAGES / "json.md").read_text(encoding="utf-8")
    assert "train" in names
    assert names - set(re.findall(r"^## tlkit (.+)$", text, re.MULTILINE)) == {"serve"}  # docs/serve.md


def test_every_field_of_the_reference_is_described() -> None:
    text = (PAGES / "json.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `.+` \| +\|$", text, re.MULTILINE) == []


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("tlkit predict", ("predict", "UNSEEN", "--model", "MODEL")),
        ("tlkit evaluate", ("evaluate", "FRESH", "--model", "MODEL", "--workers", "1")),
        ("tlkit check", ("check", "FRESH", "--no-suspects")),
        ("tlkit backbones", ("backbones",)),
        ("tlkit cache", ("cache",)),
    ],
)
def test_what_a_command_prints_is_described(
    command: str, arguments: tuple[str, ...], tlkit: Callable[..., Ran], trained: Trained, fresh: Path, unseen: Path
) -> None:
    places = {"UNSEEN": unseen, "FRESH": fresh, "MODEL": trained.bundle}
    ran = tlkit(*(places.get(each, each) for each in arguments), "--json")
    assert ran.code == 0, ran.err
    assert set(ran.lines[0]) <= described(command)


def test_what_train_prints_is_described(trained: Trained) -> None:
    assert set(trained.result) <= described("tlkit train")
    assert {f"plan.{name}" for name in trained.result["plan"]} <= described("tlkit train")
