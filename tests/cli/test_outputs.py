"""What cannot be written is refused before any work, by every command and option that writes something."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran, Trained

import tlkit
from tlkit.api.train import run as training
from tlkit.api.train.run_dir import RUN, run_folder
from tlkit.cli.app import run
from tlkit.errors import TlkitError
from tlkit.store.bound import refuse_cache_among

OUTPUTS = {  # what is written in place of "OUT", and the phase that work begins with
    "evaluate --csv": (["evaluate", "IMAGES", "--model", "MODEL", "--csv", "OUT.csv"], "Evaluating"),
    "evaluate --report": (["evaluate", "IMAGES", "--model", "MODEL", "--report", "OUT.html"], "Evaluating"),
    "predict --output": (["predict", "OTHER", "--model", "MODEL", "--output", "OUT.csv"], "Predicting"),
    "embed --output": (["embed", "OTHER", "--output", "OUT.npz"], "Embedding"),
    "explain --output": (["explain", "IMAGES", "--model", "MODEL", "--output", "OUT"], "Loading"),
    "check --report": (["check", "IMAGES", "--report", "OUT.csv"], "Features"),
    "recommend --plan": (["recommend", "IMAGES", "--plan", "OUT.json"], "Features"),
    "recommend --report": (["recommend", "IMAGES", "--report", "OUT.html"], "Features"),
    "backbones --plot": (["backbones", "--plot", "OUT.svg"], "Drawing"),
    "train --output": (["train", "IMAGES", "--output", "OUT.tlkit"], "Features"),
}
PLACES = {
    "exists": "output exists",
    "missing/new": "no such folder",
    "/proc/new": "cannot write",
    "n" * 300: "cannot look up",
}


@pytest.mark.skipif(sys.platform != "linux", reason="takes a folder that nobody can write into, root neither")
@pytest.mark.parametrize("option", OUTPUTS)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    option: str, trained: Trained, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes((garden / "birds" / "adelaide-rosella.png").read_bytes())
    for place, message in PLACES.items():
        words = {"IMAGES": str(garden), "MODEL": str(trained.bundle), "OTHER": "other"}
        arguments = [words.get(each, each).replace("OUT", place) for each in OUTPUTS[option][0]]
        out = next(each for each in arguments if each.startswith(place))
        if place == "exists":
            Path(out).write_text("mine")
        before = sorted(tmp_path.rglob("*"))
        assert run(arguments) == 2
        said = capfd.readouterr()
        assert said.out == ""
        assert f"error: {message}" in said.err, (arguments, said.err)
        assert "hint: " in said.err
        assert OUTPUTS[option][1] not in said.err
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("option", [each for each in OUTPUTS if {"IMAGES", "OTHER"} & {*OUTPUTS[each][0]}])
def test_nothing_is_written_among_the_images(
    option: str, trained: Trained, make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    root = make_folder({"a": 2, "b": 2})
    (root.parent / "labels.csv").write_text(
        "file,label\n" + "".join(f"images/{name}/{i}.png,{name}\n" for name in "ab" for i in (0, 1))
    )
    monkeypatch.chdir(root.parent)
    before = sorted(root.rglob("*"))
    for images, place in (("images", "images/new"), ("images", "images/a/new"), ("labels.csv", "images/a/new")):
        words = {"IMAGES": images, "OTHER": images, "MODEL": str(trained.bundle)}
        arguments = [words.get(each, each).replace("OUT", place) for each in OUTPUTS[option][0]]
        assert run(arguments) == 2
        said = capfd.readouterr().err
        assert "inside the image folder" in said or "among the images" in said, said
        assert OUTPUTS[option][1] not in said
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("command", [["check"], ["train"], ["recommend"], ["evaluate", "-m"], ["predict", "-m"]])
def test_a_cache_among_the_images_is_refused_unless_hidden(
    command: list[str], trained: Trained, make_folder: Callable[..., Path], tlkit: Callable[..., Ran], tmp_path: Path
) -> None:
    root = make_folder({"birds": 2, "flowers": 2})
    arguments = [command[0], root, *([*command[1:], trained.bundle] if command[1:] else [])]
    ran = tlkit(*arguments, cwd=tmp_path, env={"TLKIT_CACHE": str(root / "cache")})
    assert ran.code == 2
    assert f"the cache is inside the image folder: {root / 'cache'}" in ran.err
    assert not (root / "cache").exists()


def test_a_hidden_folder_may_hold_the_cache(make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"a": 1, "b": 1})
    monkeypatch.setenv("TLKIT_CACHE", str(root / ".cache" / "tlkit"))
    refuse_cache_among([root])
    monkeypatch.delenv("TLKIT_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda _: str(root / "Caches"))  # nobody chose it
    refuse_cache_among([root])


def test_two_outputs_cannot_be_one_file(
    trained: Trained, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (
        ["evaluate", str(garden), "--model", str(trained.bundle), "--csv", "a", "--report", "./a"],
        ["recommend", str(garden), "--plan", "a", "--report", str(tmp_path / "a")],
    ):
        assert run(command) == 2
        assert "name the same file" in capfd.readouterr().err


@pytest.mark.parametrize("strategy", ["auto", "freeze", "last-layers", "fine-tune"])
@pytest.mark.parametrize("backbone", ["efficientnet-lite0", "auto"])
def test_training_is_refused_before_any_work(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str, backbone: str
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(training, "prepare_start", never)
    root = make_folder({"a": 2, "b": 2})
    target = tmp_path / "m.tlkit"
    options: Any = {"strategy": strategy, "backbone": backbone, "output": target}
    target.mkdir()
    with pytest.raises(TlkitError, match="output exists"):
        tlkit.train(root, **options)
    with pytest.raises(TlkitError, match="not a tlkit bundle"):
        tlkit.train(root, overwrite=True, **options)
    target.rmdir()
    run_folder(target).mkdir()
    with pytest.raises(TlkitError, match="not the folder of a run"):
        tlkit.train(root, overwrite=True, **options)
    (run_folder(target) / RUN).write_text("{}")
    with pytest.raises(TlkitError, match="unfinished run"):
        tlkit.train(root, **options)
    assert (run_folder(target) / RUN).is_file()


def test_a_folder_for_tensorboard_that_cannot_be_made_is_refused_at_once(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlkit.api.train.start.require_tensorboard", lambda: None)
    (tmp_path / "file").write_text("mine")
    root = make_folder({"a": 2, "b": 2})
    with pytest.raises(TlkitError, match=r"cannot write to .*file"):
        tlkit.train(root, strategy="fine-tune", output=tmp_path / "m.tlkit", tensorboard=tmp_path / "file" / "logs")
    for board in (root, root / "logs", root / "a" / "far" / "logs"):
        with pytest.raises(TlkitError, match="--tensorboard is inside the image folder"):
            tlkit.train(root, strategy="fine-tune", output=tmp_path / "m.tlkit", tensorboard=board)
