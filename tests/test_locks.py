"""Locks between processes, and files that take their names in one step."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tlkit import durable
from tlkit.durable import exchange, new_file, rename_new
from tlkit.errors import TlkitError
from tlkit.locks import HeldError, Holder, holder_of, is_locked, locked

HOLD = """
import sys, time
from pathlib import Path
from tlkit.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_held_by_one_and_names_it(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    assert not is_locked(file)
    with locked(file):
        assert is_locked(file)
        holder = holder_of(file)
        assert holder is not None
        assert (holder.process, holder.host) == (os.getpid(), socket.gethostname())
        with pytest.raises(HeldError) as caught, locked(file):
            pass
        assert caught.value.holder == holder
        assert is_locked(file)
    assert not file.exists()


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert is_locked(file)
        process.send_signal(signal.SIGKILL)
    assert file.exists()
    assert not is_locked(file)
    with locked(file):
        assert is_locked(file)
    assert not file.exists()


def test_without_locks_of_the_system_the_holder_named_in_the_file_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(_: int) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr("tlkit.locks._lock_by_system", unsupported)
    file = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    for process, host, held in [
        (gone.pid, socket.gethostname(), False),
        (os.getpid(), socket.gethostname(), True),
        (gone.pid, "another-host", True),
    ]:
        file.write_text(json.dumps({"process": process, "host": host, "since": "2026"}))
        assert is_locked(file) == held
    assert Holder(gone.pid, "another-host", "2026") == holder_of(file)
    file.unlink()
    with locked(file):
        assert is_locked(file)


@pytest.mark.parametrize("by_system", [True, False])
def test_a_rename_never_replaces_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_system: bool) -> None:
    if not by_system:
        monkeypatch.setattr(durable, "_system_call", lambda: None)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(FileExistsError):
        rename_new(tmp_path / "a", tmp_path / "b")
    rename_new(tmp_path / "a", tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_two_folders_exchange_their_names(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange names")
    assert (tmp_path / "a" / "b").exists()
    assert (tmp_path / "b" / "a").exists()


def test_a_file_that_cannot_be_written_whole_leaves_its_name_free(tmp_path: Path) -> None:
    def fill(part: Path) -> None:
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(TlkitError, match="No space left"), new_file(tmp_path / "r.html") as part:
        fill(part)
    assert not list(tmp_path.iterdir())
    with new_file(tmp_path / "r.html") as part:
        part.write_text("whole")
    with pytest.raises(TlkitError, match="cannot write"), new_file(tmp_path / "r.html") as part:
        part.write_text("another")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]
