"""A path that the system refuses is one line and exit code 2, before any work; among images it is a row."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran, Trained

from tlkit.csvtext import original

Tlkit = Callable[..., Ran]
COMMANDS = {  # what stands in place of "BAD"
    "train IMAGES": "train BAD",
    "train --output": "train IMAGES --output BAD",
    "train --plan": "train IMAGES --plan BAD",
    "train --from": "train IMAGES --from BAD",
    "train --resume": "train --resume BAD",
    "train --weights": "train IMAGES --backbone mobilenet-v2 --weights BAD",
    "train --backbone": "train IMAGES --backbone BAD",
    "train --tensorboard": "train IMAGES --strategy fine-tune --tensorboard BAD",
    "check IMAGES": "check BAD",
    "check --model": "check IMAGES --model BAD",
    "check --report": "check IMAGES --report BAD",
    "recommend IMAGES": "recommend BAD",
    "recommend --report": "recommend IMAGES --report BAD",
    "recommend --plan": "recommend IMAGES --plan BAD",
    "predict --model": "predict IMAGES --model BAD",
    "evaluate IMAGES": "evaluate BAD --model MODEL",
    "evaluate --model": "evaluate IMAGES --model BAD",
    "evaluate --csv": "evaluate IMAGES --model MODEL --csv BAD",
    "evaluate --report": "evaluate IMAGES --model MODEL --report BAD",
    "explain --model": "explain IMAGES --model BAD",
    "explain --output": "explain IMAGES --model MODEL --output BAD",
    "embed --output": "embed IMAGES --output BAD.csv",
    "embed --model": "embed IMAGES --output v.csv --model BAD",
    "embed --weights": "embed IMAGES --output v.csv --backbone mobilenet-v2 --weights BAD",
    "backbones --plot": "backbones --plot BAD.svg",
    "backbones show": "backbones show BAD",
}


@pytest.fixture
def bad(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "loop").symlink_to("loop")
    return {"name": "n" * 300, "path": "n/" * 3000 + "n", "loop": "loop/inside", "null byte": "a\0b"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
@pytest.mark.parametrize("option", COMMANDS)
def test_a_path_that_cannot_be_looked_up_is_refused_before_any_work(
    tlkit: Tlkit, trained: Trained, garden: Path, tmp_path: Path, bad: dict[str, str], option: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    for kind, value in bad.items():
        words = {"IMAGES": str(garden), "MODEL": str(trained.bundle)}
        ran = tlkit(*[words.get(each, each.replace("BAD", value)) for each in COMMANDS[option].split()], cwd=tmp_path)
        lines = ran.err.splitlines()
        assert (ran.code, ran.out) == (2, ""), (kind, ran.err)
        assert [line.startswith("error: ") for line in lines if not line.startswith("hint: ")] == [True], (kind, lines)
        assert len(lines[0]) < 8000
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
def test_among_images_such_a_path_is_a_row(
    tlkit: Tlkit, trained: Trained, unseen: Path, tmp_path: Path, bad: dict[str, str]
) -> None:
    del bad["null byte"]  # no process can be given one
    odd = [*bad.values(), os.fsdecode(b"caf\xe9.jpg"), "new\nline.jpg"]
    ran = tlkit("predict", *odd, unseen, "--model", trained.bundle, "--format", "csv", cwd=tmp_path)
    assert ran.code == 0, ran.err
    rows = [[original(cell) for cell in row] for row in csv.reader(ran.out.splitlines())][1:]
    assert [row[0] for row in rows[: len(odd)]] == odd
    assert all(row[4] for row in rows[: len(odd)])
    assert not any(row[4] for row in rows[len(odd) :])
    ran = tlkit("embed", *odd, unseen, "--output", "v.csv", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert [each["file"] for each in ran.json["skipped"]] == odd


@pytest.mark.parametrize("name", ["-1+2", "=1+1", "@a", "+b"])
def test_names_that_spreadsheets_would_run(
    tlkit: Tlkit, trained: Trained, unseen: Path, tmp_path: Path, name: str
) -> None:
    image = tmp_path / f"{name}.jpg"
    image.write_bytes(next(unseen.iterdir()).read_bytes())
    for raw, first in ((False, "'"), (True, "")):
        flags = ["--raw-csv"] if raw else []
        ran = tlkit("predict", f"./{name}.jpg", "--model", trained.bundle, "--format", "csv", *flags, cwd=tmp_path)
        # a path such as ./-1+2.jpg loses its dot on the way
        assert ran.out.splitlines()[1].startswith(f"{first}{name}.jpg,"), ran.out + ran.err
        out = tmp_path / f"v{raw}.csv"
        assert tlkit("embed", f"./{name}.jpg", "--output", out, *flags, cwd=tmp_path).code == 0
        row = out.read_text().splitlines()[1].split(",")
        assert row[0] == f"{first}{name}.jpg"
        assert all(float(number) is not None for number in row[2:])
