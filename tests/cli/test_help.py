"""Help by group and as wide as the terminal, and values that the shell completes."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from conftest import Ran

from tlkit.api.train.options import TrainOptions
from tlkit.backbones import catalog
from tlkit.plan.option import GROUPS, declared

Tlkit = Callable[..., Ran]


def sections(text: str) -> dict[str, str]:
    """What stands under each heading of a help text."""
    parts = re.split(r"^(\w+):\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_options_stand_in_their_groups(tlkit: Tlkit) -> None:
    ran = tlkit("train", "--help")
    assert ran.code == 0, ran.err
    found = sections(ran.out)
    assert [heading for heading in found if heading in GROUPS] == list(GROUPS)
    for its in declared(TrainOptions).values():
        assert re.search(rf"(^|[ ,/]){re.escape(its.flag)}\b", found[its.option.group], re.M), its.flag
    assert "[auto|freeze|last-layers|fine-tune|early-layers]" in found["Strategy"]
    assert "--json" in found["Output"]
    assert "Example: tlkit train ./images" in ran.out
    assert "\\[" not in ran.out


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_help_is_as_wide_as_the_terminal(tlkit: Tlkit, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    longest = max(map(len, tlkit("train", "--help").out.splitlines()))
    assert columns - 20 < longest <= columns


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("--strategy f", ["freeze", "fine-tune"]),
        ("--backbone efficientnet-lite", [name for name in catalog.names() if name.startswith("efficientnet-lite")]),
        ("--backbone au", ["auto"]),
        ("--engine ", ["auto", "litert", "keras"]),
        ("--weights ", ["imagenet", "none"]),
    ],
)
def test_the_shell_completes_values(installed: Tlkit, typed: str, expected: list[str]) -> None:
    words = f"tlkit train {typed}"
    place = len(words.split(" ")) - 1
    env = {"_TLKIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    assert installed(env=env).out.split() == expected


@pytest.mark.parametrize(("shell", "start"), [("bash", "_tlkit_"), ("zsh", "#compdef tlkit"), ("fish", "complete ")])
def test_completion_is_for_the_shell_that_is_named(tlkit: Tlkit, shell: str, start: str) -> None:
    ran = tlkit("--show-completion", shell)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(start)


@pytest.mark.parametrize(
    "command",
    [
        "predict",
        "check",
        "evaluate",
        "compare",
        "suggest",
        "explain",
        "embed",
        "export",
        "backbones",
        "cache",
        "doctor",
        "serve",
    ],
)
def test_every_command_groups_its_options(tlkit: Tlkit, command: str) -> None:
    found = sections(tlkit(command, "--help").out)
    assert "--json" in found["Output"]
    assert "--debug" in found["Machine"]
    assert "Options" not in found
    if command not in ("explain", "export", "cache", "doctor", "serve"):
        assert "--engine [auto|litert|keras]" in found["Machine"]
