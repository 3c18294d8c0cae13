"""Which tlkit the tests would test: this checkout, or an old copy of it in the environment."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

SUFFIXES = {".py", ".html"}


def stale(checkout: Path) -> str | None:
    """What to tell the user if tests or the installed command would import anything but ``checkout``'s code."""
    for package in {_imported_here(), _imported_by_the_command()}:
        if message := complaint(package, checkout):
            return message
    return None


def complaint(package: Path | None, checkout: Path) -> str | None:
    """One line if ``package`` is missing or its code differs from ``checkout``'s; an identical copy is fine."""
    remedy = f"run {sys.executable} -m pip install -e ."
    if package is None:
        return f"tlkit is not installed in this environment: {remedy}"
    different = [] if package.resolve() == checkout.resolve() else differences(package, checkout)
    if not different:
        return None
    more = f" and {len(different) - 1} more" if len(different) > 1 else ""
    return f"pytest would test {package}, which differs from this checkout ({different[0]}{more}): {remedy}"


def differences(package: Path, checkout: Path) -> list[str]:
    """Modules and templates that only one of two packages has, or that are not the same in both."""
    ours, theirs = _digests(checkout), _digests(package)
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def _digests(package: Path) -> dict[str, str]:
    files = (file for file in package.rglob("*") if file.suffix in SUFFIXES)
    return {file.relative_to(package).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _imported_here() -> Path | None:
    spec = importlib.util.find_spec("tlkit")
    return Path(spec.origin).parent if spec and spec.origin else None


def _imported_by_the_command() -> Path | None:
    """``python -m pytest`` imports from the current folder first, the command that the tests run does not."""
    code = "import importlib.util; spec = importlib.util.find_spec('tlkit'); print(spec and spec.origin or '')"
    command = [sys.executable, "-c", code]
    origin = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    ).stdout.strip()
    return Path(origin).parent if origin else None
