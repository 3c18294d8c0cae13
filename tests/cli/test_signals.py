"""SIGTERM and SIGHUP end a command like Ctrl-C, whatever it is doing: exit code 130, nothing lost, nothing left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Ran

from tlkit.cli.console import ConsoleProgress
from tlkit.cli.signals import ENDING, take_as_interrupts
from tlkit.progress import Advance

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
Tlkit = Callable[..., Ran]
SendAt = Callable[[str, signal.Signals], None]
QUICK = ["--image-size", "32", "--backbone", "efficientnet-lite0", "--features", "last"]


@pytest.fixture
def send_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[SendAt]:
    """Have this process get a signal once a phase has begun; handlers are as in a process that a shell started."""
    before = {each: signal.getsignal(each) for each in ENDING}
    for each in ENDING:  # under nohup, one of them is ignored
        signal.signal(each, signal.SIG_DFL)
    take_as_interrupts()
    real = ConsoleProgress.phase

    def send(title: str, number: signal.Signals) -> None:
        sent: list[str] = []

        @contextmanager
        def phase(self: ConsoleProgress, name: str, total: int | None) -> Iterator[Advance]:
            with real(self, name, total) as advance:
                if name.startswith(title) and not sent:
                    sent.append(name)
                    os.kill(os.getpid(), number)
                yield advance

        monkeypatch.setattr(ConsoleProgress, "phase", phase)

    yield send
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize(
    ("title", "number"),
    [
        ("Features", signal.SIGTERM),
        ("Solving the head", signal.SIGHUP),
        ("Calibrating", signal.SIGTERM),
        ("Saving the bundle", signal.SIGHUP),
    ],
)
def test_a_run_that_trains_weights_can_be_resumed(
    tlkit: Tlkit, send_at: SendAt, garden: Path, tmp_path: Path, title: str, number: signal.Signals
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    send_at(title, number)
    command = ["train", garden, "--strategy", "last-layers", *QUICK, "-o", "m.tlkit"]
    ran = tlkit(*command, cwd=place, env={"TLKIT_CACHE": str(tmp_path / "cache")})
    assert ran.code == 130, ran.err
    assert ran.out == ""
    assert "to resume: tlkit train --resume" in ran.err
    assert ran.err.endswith("error: interrupted\n")
    assert {path.name for path in place.iterdir()} == {"m.tlkit-run"}


@pytest.mark.parametrize(("title", "number"), [("Features", signal.SIGHUP), ("Saving the bundle", signal.SIGTERM)])
def test_a_frozen_run_leaves_nothing(
    tlkit: Tlkit, send_at: SendAt, garden: Path, tmp_path: Path, title: str, number: signal.Signals
) -> None:
    send_at(title, number)
    ran = tlkit("train", garden, "--strategy", "freeze", *QUICK, "--no-refit", cwd=tmp_path)
    assert (ran.code, ran.out) == (130, ""), ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_is_ignored_stays_ignored(send_at: SendAt) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    take_as_interrupts()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
