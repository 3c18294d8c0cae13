"""The command line's own promises: start-up, help, exit codes, streams."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran

from tlkit.backbones import catalog
from tlkit.cli.app import app

Tlkit = Callable[..., Ran]


def test_help_and_the_list_of_backbones_import_nothing_heavy() -> None:
    """What makes them answer at once; how soon they do is for benchmarks/startup.py to measure."""
    code = (
        "import sys, tlkit, tlkit.cli, tlkit.cli.app\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy', 'h5py', 'numpy', 'PIL', 'matplotlib', 'rich'}\n"
        "for arguments in (['--help'], ['train', '--help'], ['backbones']):\n"
        "    assert tlkit.cli.app.run(arguments) == 0\n"
        "    found = heavy & set(sys.modules)\n"
        "    assert not found, (arguments, found)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: tlkit" in done.stdout
    assert catalog.DEFAULT in done.stdout


COMMANDS = [str(each.name) for each in (*app.registered_commands, *app.registered_groups)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(tlkit: Tlkit, command: str) -> None:
    ran = tlkit(command, "--help")
    assert ran.code == 0
    assert f"Example: tlkit {command}" in ran.out


def test_version_and_no_arguments(tlkit: Tlkit, installed: Tlkit) -> None:
    import tlkit as package

    assert installed("--version").out == tlkit("--version").out == f"tlkit {package.__version__}\n"
    assert "Commands" in tlkit().out
    done = subprocess.run([sys.executable, "-m", "tlkit", "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == f"tlkit {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument 'IMAGES'"),
        (["train", "x", "--sede", "1"], "No such option: --sede"),
        (["train", "x", "--seed", "-1"], "--seed must be at least 0, not -1"),
        (["train", "x", "--seed", "one"], "Invalid value for '--seed'"),
        (["predict", "x", "--format", "xml"], "Invalid value for '--format'"),
        (["predict"], "Missing argument"),
    ],
)
def test_wrong_usage_is_one_line_and_a_hint(tlkit: Tlkit, arguments: list[str], message: str) -> None:
    ran = tlkit(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2


def test_debug_shows_the_traceback(tlkit: Tlkit, tmp_path: Path) -> None:
    assert "Traceback" not in tlkit("train", tmp_path / "none").err
    assert "Traceback" in tlkit("train", tmp_path / "none", "--debug").err
    assert "Traceback" in tlkit("--debug", "train", tmp_path / "none").err
    assert "Traceback" in tlkit("train", tmp_path / "none", env={"TLKIT_DEBUG": "1"}).err


def run_guarded(raising: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    from tlkit.cli.exits import guarded

    def command() -> None:
        raise raising

    return guarded(command), capsys.readouterr().err


def test_every_ending_has_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    from tlkit.errors import TlkitError

    assert run_guarded(TlkitError("wrong\nthing", "do this"), capsys) == (2, "error: wrong thing\nhint: do this\n")
    assert run_guarded(KeyboardInterrupt(), capsys) == (130, "error: interrupted\n")
    code, err = run_guarded(ZeroDivisionError("oh"), capsys)
    assert code == 1
    assert "defect in tlkit: ZeroDivisionError: oh" in err
    assert run_guarded(MemoryError(), capsys)[0] == 2


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (ModuleNotFoundError("No module named 'keras'", name="keras"), "a library cannot be loaded: No module named"),
        (ImportError("libcuda.so: failed to map segment from shared object"), "out of memory"),
        (RuntimeError("can't start new thread"), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError(errno.EACCES, "Permission denied", "/a/b"), "cannot use /a/b: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "the system refused a read or write: No space left"),
        (
            UnicodeEncodeError("utf-8", "a\udce9", 1, 2, "surrogates not allowed"),
            "a name is not valid Unicode: a\\udce9",
        ),
        (ValueError("embedded null byte"), "a path holds a null byte"),
        (RecursionError("maximum recursion depth exceeded"), "folders or data are nested too deeply"),
    ],
)
def test_what_the_machine_lacks_is_no_defect(raised: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = run_guarded(raised, capsys)
    assert code == 2
    assert err.startswith(f"error: {line}")
    assert len(err.splitlines()) <= 2


@pytest.mark.parametrize(
    "raised", [ImportError("cannot import name 'x'", name="tlkit.x"), ValueError("x"), UnicodeError("x"), KeyError("x")]
)
def test_what_tlkit_did_wrong_is_a_defect(raised: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = run_guarded(raised, capsys)
    assert code == 1
    assert "defect in tlkit" in err


def test_a_library_that_is_missing_is_named(garden: Path) -> None:
    code = f"import sys; sys.modules['natsort'] = None; import tlkit.cli; tlkit.cli.main(['check', {str(garden)!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2] == "error: natsort is not installed"


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is another system's")
@pytest.mark.parametrize(
    ("ends", "code"), [("os._exit(1)", 2), ("os.abort()", 2), ("os._exit(0)", 2), ("None", 7), ("sys.exit(3)", 3)]
)
def test_a_library_that_ends_the_process_under_a_limit_is_no_defect(ends: str, code: int) -> None:
    script = (
        "import os, resource, sys; from tlkit.cli.limits import supervised\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, resource.RLIM_INFINITY))\n"
        f"sys.exit(supervised(lambda: ({ends}, 7)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith("error: out of memory: a library ended the process") == (code == 2)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is another system's")
def test_tensorflow_is_not_started_where_it_would_abort(tmp_path: Path) -> None:
    command = f"ulimit -v 1500000; {sys.executable} -m tlkit backbones show mobilenet-v2"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    assert "ulimit -v" in done.stderr
