from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import complaint, differences, stale
from conftest import ROOT


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout" / "tlkit"
    (folder / "report").mkdir(parents=True)
    (folder / "__init__.py").write_text("VERSION = 1\n")
    (folder / "report" / "pages.py").write_text("")
    (folder / "report" / "base.html").write_text("<html>")
    return folder


@pytest.fixture
def copy(package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(package, tmp_path / "site-packages" / "tlkit"))


def test_the_checkout_itself_is_fine(package: Path) -> None:
    assert complaint(package, package) is None


def test_an_identical_copy_is_fine(package: Path, copy: Path) -> None:
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "x.pyc").write_text("compiled")
    assert complaint(copy, package) is None


def test_a_copy_with_other_code_is_refused_in_one_line(package: Path, copy: Path) -> None:
    (copy / "__init__.py").write_text("VERSION = 0\n")
    (copy / "report" / "base.html").write_text("<old>")
    message = complaint(copy, package)
    assert message == (
        f"pytest would test {copy}, which differs from this checkout (__init__.py and 1 more): "
        f"run {sys.executable} -m pip install -e ."
    )


def test_modules_that_only_one_side_has_are_differences(package: Path, copy: Path) -> None:
    (copy / "moved.py").write_text("")
    (package / "new.py").write_text("")
    assert differences(copy, package) == ["moved.py", "new.py"]


def test_a_missing_installation_is_refused(package: Path) -> None:
    message = complaint(None, package)
    assert message is not None
    assert message.startswith("tlkit is not installed in this environment: run ")


def test_what_runs_now_is_this_checkout() -> None:
    assert stale(ROOT / "tlkit") is None


def test_pytest_stops_before_it_tests_an_old_copy(copy: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-n", "0", "--collect-only", __file__]
    environment = {**os.environ, "PYTHONPATH": str(copy.parent)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    first = next(line for line in ran.stderr.splitlines() if line)
    assert first.startswith(f"ERROR: pytest would test {copy}, which")
    assert "collected" not in ran.stdout
