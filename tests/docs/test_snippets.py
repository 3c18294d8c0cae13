"""Commands and Python in the documentation: every command line is taken by the command's own parser, and the recipes
run.

What cannot be run here has a word after the language: ``sh not-run``, ``python not-run``; their number is below.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import ROOT, Ran, Trained

from tlkit.cli.app import app

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)((?: [\w-]+)*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = 0
"""Blocks of the pages that say that they are not run."""
LONG = {"train", "recommend", "serve", "doctor"}
"""Commands that the recipes' test only parses: they take minutes, or never end. Their own tests run them."""


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield found[1], found[2].strip(), found[3]


def lines(page: Path) -> list[list[str]]:
    """The arguments of every ``tlkit`` command of a page, without what a shell does with its output."""
    found = []
    for language, _, text in blocks(page):
        for line in text.replace("\\\n", " ").splitlines() if language == "sh" else ():
            if "tlkit " not in line:
                continue
            words = shlex.split(line, comments=True)
            starts = [at for at, word in enumerate(words) if Path(word).name == "tlkit"]
            for start in starts if not line.startswith(("docker", "pip")) else ():
                rest = words[start + 1 :]
                end = next((at for at, word in enumerate(rest) if word in ("&&", ";", "|", "&", ">")), len(rest))
                found.append(rest[:end])
    return found


def parsed(words: list[str]) -> None:
    """Let the command's own parser take a command line, without running it."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("tlkit", [], resilient_parsing=True)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
        words = words[1:]
    command.make_context("tlkit", words, parent=context)


@pytest.mark.parametrize("page", [page for page in PAGES if lines(page)], ids=lambda page: page.name)
def test_every_command_is_taken(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in lines(page):
        try:
            parsed(words)
        except Exception as refused:
            pytest.fail(f"{page.name}: tlkit {shlex.join(words)}: {refused}")


def test_a_wrong_option_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parsed(["predict", "photos", "--no-such-option"])
    with pytest.raises(Exception, match="not a valid int"):
        parsed(["predict", "photos", "--top", "many"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_is_python(page: Path) -> None:
    for language, mark, text in blocks(page):
        if language == "python" and not mark:
            compile(text, page.name, "exec")


def test_what_is_not_run_is_counted() -> None:
    marked = [text for page in PAGES for _, mark, text in blocks(page) if "not-run" in mark]
    assert len(marked) == NOT_RUN


@pytest.fixture(scope="module")
def room(trained: Trained, fresh: Path, garden: Path, unseen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the recipes name."""
    place = tmp_path_factory.mktemp("recipes")
    shutil.copytree(trained.bundle, place / "images.tlkit")
    for name in ("images", "fresh"):
        (place / name).symlink_to(fresh)
    shutil.copytree(unseen, place / "photos")
    for name in ("photo.jpg", "other.jpg"):
        shutil.copy(unseen / "birds-magpie.png", place / name)
    shutil.copytree(trained.bundle, place / "plants.tlkit")
    rows = [f"{file},{file.parent.name}" for file in sorted(fresh.rglob("*.png"))]
    (place / "plants.csv").write_text("\n".join(["file_name,label", *rows]))
    return place


def test_the_recipes_run(
    room: Path, tlkit: Callable[..., Ran], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "docs" / "recipes.md"
    ran_once: set[tuple[str, ...]] = set()
    for words in lines(page):
        if words[0] in LONG or tuple(words) in ran_once:
            continue
        ran_once.add(tuple(words))
        ran = tlkit(*words, cwd=room)
        allowed = (0, 2) if "--strict" in words else (0,)  # of eight images, some class has few
        assert ran.code in allowed, f"tlkit {shlex.join(words)}\n{ran.err}"
        assert "Traceback" not in ran.err
    assert len(ran_once) >= 8
    monkeypatch.chdir(room)
    for language, _, text in blocks(page):
        if language == "python":
            exec(compile(text, page.name, "exec"), {})
    assert capsys.readouterr().out.count("birds") == 2
