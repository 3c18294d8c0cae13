"""Build the distributions and install them everywhere: Python versions x bounds of dependencies x wheel and sdist.

    pip install build twine uv
    python benchmarks/packaging.py --build              # twice, compared; twine check; contents
    python benchmarks/packaging.py packaging.jsonl      # a line for each installation; resumes
    python benchmarks/packaging.py --report packaging.jsonl

An installation is a new virtual environment without this checkout. ``lowest`` takes the lowest version of every direct
dependency that setup.cfg allows, ``highest`` the newest. In each, the dependencies are checked, and the sample is
trained on, predicted and evaluated in an empty folder. uv takes its indexes from its own settings.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from measure import machine

ROOT = Path(__file__).resolve().parent.parent
LOWEST = "lowest"
PYTHONS, BOUNDS, KINDS = ("3.10", "3.11", "3.12", "3.13"), ("highest", LOWEST), ("wheel", "sdist")
VERSION = "import importlib.metadata as its; print(its.version('tensorflow'))"
NEEDED = (
    "tlkit/py.typed",
    "tlkit/report/templates/base.html",
    "tlkit/serve/page/serve.js",
    "tlkit/formats/page/page.css",
)


def run(*command: object, cwd: Path = ROOT, **env: str) -> str:
    """Run a command and return what it printed.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def build(into: Path) -> dict[str, Path]:
    """Build sdist and wheel from what git knows, as dated by the last commit."""
    when = run("git", "log", "-1", "--format=%ct").strip()
    with tempfile.TemporaryDirectory() as place:
        archive = Path(place, "tlkit.tar")
        run("git", "archive", "-o", archive, "HEAD")
        with tarfile.open(archive) as file:
            file.extractall(Path(place, "tlkit"), filter="data")
        run(sys.executable, "-m", "build", "-o", into, cwd=Path(place, "tlkit"), SOURCE_DATE_EPOCH=when)
    sdist = next(into.glob("*.tar.gz"))
    repack(sdist, int(when))
    return {"wheel": next(into.glob("*.whl")), "sdist": sdist}


def repack(sdist: Path, when: int) -> None:
    """Pack an sdist again with one date, owner and order: setuptools uses the date of the build."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = when, 0, 0, "", ""
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(sdist) as file:
            file.extractall(place, filter="data")
        (top,) = Path(place).iterdir()
        with (
            sdist.open("wb") as out,
            gzip.GzipFile("", "wb", fileobj=out, mtime=when) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as file,
        ):
            for each in (top, *sorted(top.rglob("*"))):
                file.add(each, each.relative_to(place), recursive=False, filter=plain)


def check_build(output: Path | None) -> None:
    """Build twice and compare; check metadata and contents; keep the files in ``output``."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        files, again = build(Path(one)), build(Path(two))
        for kind, file in files.items():
            same = hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(again[kind].read_bytes()).digest()
            equal = "equal" if same else "DIFFERENT"
            print(f"{kind}: {file.name}, {file.stat().st_size / 1e6:.2f} MB, built twice: {equal}")
        print(run(sys.executable, "-m", "twine", "check", "--strict", *files.values()).strip())
        names = zipfile.ZipFile(files["wheel"]).namelist()
        strange = [each for each in names if not each.startswith(("tlkit/", "tlkit-"))]
        missing = [each for each in NEEDED if each not in names]
        print(f"wheel: {len(names)} files; strange: {strange or 'none'}; missing: {missing or 'none'}")
        if output is not None:
            output.mkdir(exist_ok=True)
            for file in files.values():
                shutil.copy(file, output)
        if strange or missing:
            sys.exit(1)


def installed(python: str, bounds: str, kind: str, file: Path) -> dict[str, Any]:
    """Install a distribution and use it."""
    with tempfile.TemporaryDirectory() as place:
        venv, empty = Path(place, "venv"), Path(place, "empty")
        empty.mkdir()
        run("uv", "venv", "-q", "--python", python, venv)
        began = time.perf_counter()
        if bounds == LOWEST:  # asked for on their own: to uv, only what is named on the command line is direct
            needed = Path(place, "lowest.txt")
            options = ("--resolution", "lowest-direct", "--python", venv, "-o", needed)
            run("uv", "pip", "compile", "-q", *options, ROOT / "setup.cfg")
            run("uv", "pip", "install", "-q", "--python", venv, "-r", needed)
        run("uv", "pip", "install", "-q", "--python", venv, file)
        took = time.perf_counter() - began
        check = run("uv", "pip", "check", "-q", "--python", venv).strip() or "ok"
        cache = {"TLKIT_CACHE": str(Path(place, "cache")), "PYTHONPATH": ""}
        tlkit = venv / "bin" / "tlkit"
        began = time.perf_counter()
        options = ("--strategy", "freeze", "--backbone", "efficientnet-lite0", "--json")
        found = json.loads(run(tlkit, "train", ROOT / "sample_data" / "garden", *options, cwd=empty, **cache))
        run(tlkit, "predict", ROOT / "sample_data" / "unseen", "--json", cwd=empty, **cache)
        run(tlkit, "evaluate", ROOT / "sample_data" / "garden", "--json", cwd=empty, **cache)
        size = sum(each.lstat().st_blocks * 512 for each in venv.rglob("*"))
        return {
            **machine(),
            "python": python,
            "bounds": bounds,
            "kind": kind,
            "version": run(tlkit, "--version", cwd=empty).strip(),
            "check": check,
            "tensorflow": run(venv / "bin" / "python", "-c", VERSION, cwd=empty).strip(),
            "install_seconds": round(took, 1),
            "use_seconds": round(time.perf_counter() - began, 1),
            "val_accuracy": found["metrics"]["val_accuracy"],
            "megabytes": round(size / 1e6),
        }


def measure_all(table: Path) -> None:
    """Add the installations that the table does not have yet."""
    rows = [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []
    done = {(row["python"], row["bounds"], row["kind"]) for row in rows if not row.get("error")}
    with tempfile.TemporaryDirectory() as place:
        files = build(Path(place))
        for python, bounds, kind in itertools.product(PYTHONS, BOUNDS, KINDS):
            if (python, bounds, kind) in done:
                continue
            try:
                row = installed(python, bounds, kind, files[kind])
            except RuntimeError as error:
                row = {"python": python, "bounds": bounds, "kind": kind, "error": str(error)}
            with table.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def report(table: Path) -> None:
    """Print the last line of each installation as a table."""
    rows = {}
    for line in table.read_text().splitlines():
        row = json.loads(line)
        rows[row["python"], row["bounds"], row["kind"]] = row
    print("| Python | bounds | from | dependencies | sample | size |\n|---|---|---|---|---|---|")
    for (python, bounds, kind), row in sorted(rows.items()):
        start = f"| {python} | {bounds} | {kind} |"
        if row.get("error"):
            print(f"{start} {row['error'][:100]} | | |")
        else:
            print(f"{start} {row['check']} | {row['val_accuracy']:.1%} | {row['megabytes']:,} MB |")


def main() -> None:
    """Build, install or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--output", type=Path, help="with --build: a folder for the distributions")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if options.build:
        check_build(options.output)
    elif options.table is None:
        parser.error("name a table, such as packaging.jsonl")
    elif options.report:
        report(options.table)
    else:
        measure_all(options.table)


if __name__ == "__main__":
    main()
