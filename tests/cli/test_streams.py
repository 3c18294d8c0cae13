"""Standard streams that are closed or full: the result is whole, or the exit code is 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMAND, Trained

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full and a shell")


def shell(line: str, cwd: Path, **env: str) -> tuple[int, bytes, bytes]:
    """Run a line of the shell, in which ``tlkit`` is the installed command."""
    place = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=cwd,
        env={**os.environ, "PATH": place, **env},
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("closed", [">&-", "> /dev/full"])
@pytest.mark.parametrize("command", ["--version", "backbones --json", "predict images"])
def test_no_work_is_begun_where_no_result_can_be_written(tmp_path: Path, closed: str, command: str) -> None:
    code, out, err = shell(f"tlkit {command} {closed}", tmp_path)
    assert code == 2
    assert out == b""
    lines = err.decode().splitlines()
    assert lines[0].startswith("error: cannot write to standard output: ")
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2
    assert shell(f"tlkit {command} {closed} 2>&-", tmp_path) == (2, b"", b"")


@pytest.mark.parametrize("lost", ["2>&-", "2> /dev/full", "2>&- <&-"])
def test_messages_that_cannot_be_written_cost_no_result(
    trained: Trained, unseen: Path, tmp_path: Path, lost: str
) -> None:
    command = f"tlkit predict {unseen} --model {trained.bundle} --format csv"
    code, out, err = shell(f"{command} {lost}", tmp_path)
    assert (code, err) == (0, b"")
    assert out.decode().splitlines()[0] == "file,label,probability,unknown,error"
    assert len(out.decode().splitlines()) == 9
    assert shell(f"tlkit predict nothing {lost}", tmp_path) == (2, b"", b"")


def test_a_disk_that_fills_up_is_no_defect(trained: Trained, unseen: Path, tmp_path: Path) -> None:
    """The first rows fit into the file, the others do not."""
    images = " ".join([str(unseen)] * 1)
    limit = "ulimit -f 1; trap '' XFSZ"  # blocks of 512 bytes
    code, _, err = shell(f"{limit}; tlkit predict {images} --model {trained.bundle} --json > rows.jsonl", tmp_path)
    assert code == 2
    assert b"defect" not in err
    assert err.splitlines()[-1].startswith(b"error: the system refused a read or write: ")


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    code, out, err = shell("tlkit backbones | head -n 1", tmp_path)
    assert (code, err) == (0, b"")
    assert out.startswith(b"name")


def test_native_messages_are_dropped_unless_asked_for(tmp_path: Path) -> None:
    """What libraries write to descriptor 2 goes nowhere; tlkit's own messages stay."""
    code = (
        "import os, sys; from tlkit.cli.streams import prepare; prepare()\n"
        "os.write(2, b'native\\n'); print('own', file=sys.stderr)"
    )
    for env, expected in (({}, b"own\n"), ({"TLKIT_DEBUG": "1"}, b"native\nown\n")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, expected)
