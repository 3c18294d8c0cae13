"""``tlkit train`` with tuned weights as a user meets it: Ctrl-C, kills, resuming, options that contradict."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran, start_and_signal

import tlkit as package

Tlkit = Callable[..., Ran]
QUICK = ["--strategy", "fine-tune", "--image-size", "32", "--epochs", "3", "--learning-rate", "1e-3"]


def test_ctrl_c_saves_the_best_so_far_and_the_run_goes_on(
    tlkit: Tlkit, make_folder: Callable[..., Path], small: Path, tmp_path: Path
) -> None:
    """What is saved is a whole bundle: calibrated, able to flag unknown images, with a report that says what it is."""
    images, place = make_folder({"cats": 130, "dogs": 130}), tmp_path / "place"
    place.mkdir()
    options = ["--strategy", "fine-tune", "--backbone", small, "--epochs", "25", "--learning-rate", "1e-3"]
    ran = start_and_signal(["train", images, *options, "-o", "m.tlkit"], signal.SIGINT, "step [1-9]", place)
    assert ran.code == 130, ran.err
    assert "finishing this step" in ran.err
    assert "to resume: tlkit train --resume m.tlkit-run" in ran.err
    assert "Traceback" not in ran.err
    manifest = package.load(place / "m.tlkit").manifest
    assert manifest["calibration"]["temperature"] is not None
    assert manifest["unknown"]["rate"] == 0.05
    said = re.search(r"interrupted at step (\d+) of (\d+); the best network so far is saved", ran.err)
    assert said is not None
    assert f"interrupted at step {said[1]} of {said[2]}" in (place / "m.tlkit" / "report.html").read_text()
    row = tlkit("predict", images / "cats" / "1.png", "-m", place / "m.tlkit", "--json").lines[0]
    assert isinstance(row["unknown"], bool)
    assert {path.name for path in place.iterdir()} == {"m.tlkit", "m.tlkit-run"}
    refused = tlkit("train", images, *options, "-o", "m.tlkit", cwd=place)
    assert refused.code == 2
    again = tlkit("train", "--resume", "m.tlkit-run", "--json", cwd=place)
    assert again.code == 0, again.err
    assert "resuming after step" in again.err
    assert again.json["tuning"]["stopped"] in ("schedule", "early stopping")
    assert again.json["resume"] is None
    assert {path.name for path in place.iterdir()} == {"m.tlkit"}
    package.load(place / "m.tlkit")


def test_a_killed_run_goes_on(tlkit: Tlkit, garden: Path, small: Path, tmp_path: Path) -> None:
    """Killed before the first state was saved, and again while it trains; as long as it lives, it is left alone."""
    options = ["--strategy", "fine-tune", "--backbone", small, "--epochs", "25", "--learning-rate", "1e-3"]
    command = ["train", garden, *options, "-o", "m.tlkit"]

    def try_too() -> None:
        for words in (["train", "--resume", "m.tlkit"], command):
            refused = tlkit(*words, cwd=tmp_path)
            assert refused.code == 2
            assert "another run is writing" in refused.err
            assert "unfinished run" not in refused.err

    assert start_and_signal(command, signal.SIGKILL, "Features", tmp_path, meanwhile=try_too).code == -signal.SIGKILL
    assert not (tmp_path / "m.tlkit").exists()
    resume: list[object] = ["train", "--resume", "m.tlkit"]
    killed = start_and_signal(resume, signal.SIGKILL, "step [1-9]", tmp_path, meanwhile=try_too)
    assert killed.code == -signal.SIGKILL
    done = tlkit("train", "--resume", "m.tlkit-run", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.json["tuning"]["stopped"] in ("schedule", "early stopping")
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == ["m.tlkit"]
    package.load(tmp_path / "m.tlkit")
    finished = tlkit("train", "--resume", "m.tlkit", cwd=tmp_path)
    assert finished.code == 2
    assert "finished bundle" in finished.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'IMAGES'"),
        (["--resume", "none.tlkit-run"], "no such run"),
        (["--resume", "none.tlkit-run", "--epochs", "3"], "--epochs does not apply to --resume"),
        (["--resume", "none.tlkit-run", "--from", "m.tlkit"], "--from does not apply to --resume"),
        (["images", "--strategy", "fine-tune", "--time-budget", "soon"], "--time-budget requires a time"),
        (["images", "--strategy", "fine-tune", "--time-budget", "0s"], "--time-budget requires a time"),
        (["images", "--time-budget", "5"], "hint: write 5s, 5m or 5h"),
        (["images", "--strategy", "fine-tune", "--augment", "much"], "--augment"),
        (["images", "--strategy", "freeze", "--epochs", "3"], "requires a strategy that trains weights"),
        (["images", "--strategy", "fine-tune", "--epochs", "0"], "--epochs 0 does not apply"),
        (["images", "--strategy", "fine-tune", "--batch-size", "0"], "--batch-size"),
        (["images", "--strategy", "fine-tune", "--learning-rate", "-1"], "--learning-rate"),
        ([".", "--from", "none.tlkit", "-o", "../m.tlkit"], "no such bundle"),
    ],
)
def test_what_cannot_be(tlkit: Tlkit, tmp_path: Path, arguments: list[str], message: str) -> None:
    ran = tlkit("train", *arguments, cwd=tmp_path)
    assert ran.code == 2
    assert ran.err.splitlines()[-2 if "hint:" in ran.err else -1].startswith("error: ")
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tensorboard_is_said_at_once(tlkit: Tlkit, garden: Path, tmp_path: Path) -> None:
    """Or its files are written, where it is installed."""
    ran = tlkit("train", garden, *QUICK, "--tensorboard", "logs", "-o", "m.tlkit", "--json", cwd=tmp_path)
    if ran.code == 0:
        assert list((tmp_path / "logs").glob("events*"))
        assert json.loads(ran.out)["tuning"]["steps"] > 0
    else:
        assert ran.code == 2
        assert 'pip install "tlkit[tensorboard]"' in ran.err
        assert list(tmp_path.iterdir()) == []
