"""The installed command in a process of its own says what the other tests see of it in theirs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran, Trained

from tlkit.errors import TlkitError

Tlkit = Callable[..., Ran]
# {bundle}, {garden} and {unseen} stand for places; a new folder is the current one
COMMANDS = {
    "backbones": "backbones --json",
    "backbones show": "backbones show mobilenet-v3-small --image-size 64 --json",  # which builds it with Keras
    "cache": "cache --json",
    "check": "check {garden} --no-suspects --json",
    "embed": "embed {unseen} --output v.npz --json",
    "evaluate": "evaluate {garden} --model {bundle} --json",
    "explain": "explain {unseen} --model {bundle} --json",
    "predict": "predict {unseen} --model {bundle} --json",
    "recommend": "recommend {garden} --backbone efficientnet-lite0 --image-size 32 --advisor rule --json",
}
VARIES = {"seconds", "reused", "used", "bytes", "entries"}


def lasting(value: Any) -> Any:
    """What a command said without what differs from run to run."""
    if isinstance(value, dict):
        return {key: lasting(inner) for key, inner in value.items() if key not in VARIES}
    return [lasting(each) for each in value] if isinstance(value, list) else value


SLOW = {"backbones show"}


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.thorough if each in SLOW else ()) for each in COMMANDS]
)
def test_a_process_of_its_own_says_the_same(
    installed: Tlkit,
    tlkit: Tlkit,
    trained: Trained,
    garden: Path,
    unseen: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tlkit.linear.head._searched", {})  # as in a new process
    places = {"bundle": trained.bundle, "garden": garden, "unseen": unseen}
    arguments = [each.format(**places) for each in COMMANDS[name].split()]
    said = []
    for command in (tlkit, installed):
        place = tmp_path / str(len(said))
        place.mkdir()
        ran = command(*arguments, cwd=place)
        assert ran.code == 0, ran.err
        rows = [json.loads(line) for line in ran.out.replace(str(place), ".").splitlines()]
        # the second finds features of the first in the cache
        kept = ("note: reused the features", "Features (")
        lines = [line for line in ran.err.splitlines() if not line.startswith(kept)]
        said.append((lasting(rows), lines))
    assert said[0] == said[1]  # on stderr too nothing more, of a library that is imported or of native code


def test_a_run_in_process_leaves_no_trace(tlkit: Tlkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other tests rely on: each starts as a process does, whatever ran before it."""
    monkeypatch.setattr("tlkit.cli.app.app", noisy)
    state = os.environ.copy(), Path.cwd(), sys.stdout, sys.stderr, signal.getsignal(signal.SIGINT)
    ran = tlkit("any", cwd=tmp_path, env={"TLKIT_CACHE": "elsewhere"})
    assert (ran.code, ran.out) == (2, f"{tmp_path} elsewhere\nnative\n")
    assert ran.err.splitlines() == ["of a child", "error: as planned"]
    assert (os.environ.copy(), Path.cwd(), sys.stdout, sys.stderr, signal.getsignal(signal.SIGINT)) == state


def noisy(**_: object) -> None:
    """In place of the command line: changes what it can reach, and writes to both streams in all ways."""
    print(Path.cwd(), os.environ["TLKIT_CACHE"], flush=True)
    os.write(1, b"native\n")
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'of a child\\n')"], check=True)
    os.environ["TLKIT_DEBUG"] = ""
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise TlkitError("as planned")
