"""The command that ``recommend`` proposes: with the user's options, and to be copied as it is."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Ran

from tlkit.api.train.options import TrainOptions
from tlkit.errors import TlkitError
from tlkit.plan.option import Declared, declared
from tlkit.plan.plan import Plan

Tlkit = Callable[..., Ran]
Run = Callable[..., tuple[TrainOptions, str]]
OPTIONS = {name: its for name, its in declared(TrainOptions).items() if its.option.advisor}
BESIDE = {"preprocessing": ["--backbone", "a net.keras"]}  # what an option requires
BY_PLACEHOLDER = {
    "GROUPS": "patients.csv:patient",
    "NAME": "my column",
    "DIR": "my folder",
    "TIME": "7m",
    "N": "5M",
    "MS": "20",
    "[NAME|FILE.keras|auto]": "ResNet50V2",
}


def words_of(its: Declared) -> list[str]:
    """Words that give an option a value other than its default, from what it says of itself."""
    if its.kind is bool:
        return [its.option.flags[0].split("/")[-1] if its.default else its.flag]
    if its.option.choices:
        return [its.flag, next(each for each in its.option.choices if each != its.default)]
    if its.option.metavar:
        return [its.flag, BY_PLACEHOLDER[its.option.metavar]]
    return [its.flag, "0.3" if "float" in str(its.kind) else "7"]


class StoppedError(TlkitError):
    """Ends a command before it works."""


@pytest.fixture
def run(tlkit: Tlkit, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command that stops before it works: what it was asked for, and the command that it proposes."""

    def run(*arguments: str, cwd: Path, plan: Plan | None = None) -> tuple[TrainOptions, str]:
        found: dict[str, Any] = {"command": ""}

        def measure(images: Path, *, progress: object, **options: Any) -> SimpleNamespace:
            found["options"] = TrainOptions.make(images, **options)
            return SimpleNamespace(measured=SimpleNamespace(pilot=None), plan=plan, groups=None)

        def present(result: object, command: str) -> None:
            found["command"] = command

        def train(images: Path, *, plan: object, progress: object, **options: Any) -> None:
            found["options"] = TrainOptions.make(images, **options)
            raise StoppedError("stopped")

        monkeypatch.setattr("tlkit.api.recommend.recommend.recommend", measure)
        monkeypatch.setattr("tlkit.api.recommend.plan_file.write_plan", lambda *_: None)
        monkeypatch.setattr("tlkit.cli.recommend._present", present)
        monkeypatch.setattr("tlkit.api.train.run.train", train)
        ran = tlkit(*arguments, cwd=cwd)
        assert ran.code == 0 or "stopped" in ran.err, ran.err
        return found["options"], found["command"]

    return run


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_recommend_is_in_the_command(run: Run, tmp_path: Path, name: str) -> None:
    its = OPTIONS[name]
    given = [*words_of(its), *BESIDE.get(name, [])]
    asked, command = run("recommend", "my images", *given, cwd=tmp_path)
    assert getattr(asked, name) != its.default
    assert set(given) <= set(shlex.split(command))
    again, _ = run(*shlex.split(command)[1:], cwd=tmp_path)
    assert again == asked


def test_all_options_at_once_and_names_that_the_shell_would_take_apart(run: Run, tmp_path: Path) -> None:
    together = {name: its for name, its in OPTIONS.items() if name not in ("backbone", "preprocessing", "advisor")}
    given = [word for its in together.values() for word in words_of(its)]
    given[given.index("--weights") + 1] = "it's $HOME/w&b.h5"
    asked, command = run("recommend", "a 'b' $c", *given, "--backbone", "a net.keras", cwd=tmp_path)
    again, _ = run(*shlex.split(command)[1:], cwd=tmp_path)
    assert again == asked
    assert again.weights == str(tmp_path / "it's $HOME/w&b.h5")


def test_defaults_are_left_out(run: Run, tmp_path: Path) -> None:
    given = ["--val-split", "0.2", "--seed", "0", "--pilot", "--engine", "auto"]
    assert run("recommend", "photos", *given, cwd=tmp_path)[1] == "tlkit train photos"
    assert run("recommend", "--", "-photos", cwd=tmp_path)[1] == "tlkit train ./-photos"


def test_beside_a_plan_stands_only_what_it_does_not_decide(run: Run, tmp_path: Path) -> None:
    given = ["--seed", "7", "--time-budget", "7m", "--workers", "2", "--class-weights", "none", "--plan", "a plan.json"]
    plan = Plan("efficientnet-lite0", "imagenet", "freeze", 224, val_split=0.2, class_weights="none", seed=7)
    command = run("recommend", "photos", *given, cwd=tmp_path, plan=plan)[1]
    assert command == "tlkit train photos --plan 'a plan.json' --time-budget 7m --workers 2"
    plan = replace(plan, weights="w.h5")
    command = run("recommend", "photos", "--weights", "w.h5", "--plan", "plan.json", cwd=tmp_path, plan=plan)[1]
    assert command == "tlkit train photos --plan plan.json --weights w.h5"
