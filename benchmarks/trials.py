"""What `kills.py` and `pairs.py` share: a command in folders of its own, and what came of it, to compare."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import TLKIT

INTERRUPTED = 130  # exit code
LIMIT = 240.0  # seconds, after which a run hangs
VOLATILE = {"created", "digest", "files", "run", "seconds", "model", "output", "tlkit", "reused", "resume", "file"}
"""Fields that say when and where something was made, or whether features were found in the cache."""
ADDRESS = "shared_object_id"  # Keras writes where a layer lay in memory
_RANDOM = re.compile(r"[0-9a-f]{16,}")
_TIME = re.compile(r"\d[\d,.]*( to \d[\d,.]*)? (ms|s|min|h)\b")  # in texts

Words = list[str]
Read = Callable[[Path, bytes], Any]


@dataclass(frozen=True)
class Place:
    """The folders of one trial, all of which begin empty."""

    root: Path

    @property
    def work(self) -> Path:
        """The current folder of the command."""
        return self.root / "work"

    def make(self) -> Place:
        """Make the folders."""
        for name in ("work", "cache", "tmp", "home"):
            (self.root / name).mkdir(parents=True)
        return self

    def env(self) -> dict[str, str]:
        """What tells a command to keep to these folders."""
        names = {"TLKIT_CACHE": "cache", "TMPDIR": "tmp", "HOME": "home"}
        return {
            **{key: str(self.root / name) for key, name in names.items()},
            "KERAS_HOME": str(self.root / "home/.keras"),
        }

    def names(self) -> list[str]:
        """Every file and empty folder, with a star for what is random in a name, and for each name once."""
        found = {
            _RANDOM.sub("*", str(path.relative_to(self.root)))
            for path in self.root.rglob("*")
            if not path.is_dir() or not any(path.iterdir())
        }
        return sorted(found)


def plain(value: Any) -> Any:
    """JSON without dates, times and places."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in VOLATILE and key != ADDRESS}
    if isinstance(value, str):
        return _TIME.sub("some time", value)
    return [plain(each) for each in value] if isinstance(value, list) else value


def bundle_of(work: Path, out: bytes) -> Any:
    """Manifest, networks, statistics, plan and history of a bundle, and the metrics printed."""
    folder = work / json.loads(out)["model"]
    with zipfile.ZipFile(folder / "model.keras") as archive:
        config = json.dumps(plain(json.loads(archive.read("config.json"))))
        members = {"config": digest(config.encode()), "weights": digest(archive.read("model.weights.h5"))}
    rows = csv.DictReader(io.StringIO((folder / "history.csv").read_text()))
    return {
        "manifest": plain(json.loads((folder / "tlkit.json").read_text())),
        "keras": members,
        "history": plain(list(rows)),
        **{
            name: digest((folder / name).read_bytes())
            for name in ("model.tflite", "known.npz", "labels.txt", "plan.json")
            if (folder / name).exists()  # few images allow no statistics of unknown ones
        },
        "metrics": plain(json.loads(out)["metrics"]),
    }


def file_of(name: str) -> Callable[[Path, bytes], Any]:
    """A file that a command writes, and the JSON that it prints."""
    return lambda work, out: {"file": digest((work / name).read_bytes()), "json": plain(json.loads(out))}


def content_of(name: str) -> Read:
    """A file that a command writes."""
    return lambda work, _: digest((work / name).read_bytes())


def printed(_: Path, out: bytes) -> Any:
    """Standard output as it is."""
    return digest(out)


def printed_json(_: Path, out: bytes) -> Any:
    """JSON on standard output."""
    return plain(json.loads(out))


def fetched(work: Path, _: bytes) -> Any:
    """Every file of weights, wherever it lies."""
    return {path.name: digest(path.read_bytes()) for path in work.parent.rglob("*.h5")}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Runs:
    """Starts a command in its folder; its standard output goes to a file, as with a shell's ``>``.

    Args:
        read: What came of it, as data to compare, from its folder and what it printed.
        place: The folders.
        more: More of the environment.
        program: What runs the words of a command.
    """

    def __init__(self, read: Read, place: Place, more: dict[str, str], program: Sequence[str] = (str(TLKIT),)) -> None:
        self.read, self.place, self.program = read, place, program
        self.env = {**os.environ, **place.env(), **more}

    @contextlib.contextmanager
    def started(self, words: Words) -> Iterator[subprocess.Popen[bytes]]:
        """Start it in a session of its own, which is gone afterwards."""
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            process = subprocess.Popen(
                [*self.program, *words],
                cwd=self.place.work,
                env=self.env,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def finish(self, words: Words) -> tuple[Any, float]:
        """Run it to its end; what came of it, and the seconds.

        Raises:
            RuntimeError: It failed or hung.
        """
        start = time.perf_counter()
        with self.started(words) as process:
            try:
                code: object = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                code = f"nothing in {LIMIT:g} s"
        seconds = time.perf_counter() - start
        out, err = (self._file(name).read_bytes() for name in ("out", "err"))
        for name in ("out", "err"):
            self._file(name).unlink()
        said = err.decode(errors="replace")
        if code == 2 and (taken := re.search(r"output exists: (\S+)", said)):
            file = self.place.work / taken[1]
            whole = file.read_bytes()
            file.unlink()
            found = self.finish(words)
            if file.suffix != ".html" and file.read_bytes() != whole:
                raise RuntimeError(f"{file.name} was not whole after the kill")
            return found
        if code != 0:
            raise RuntimeError(f"{shlex.join(words)} ended with {code}: {said[-1500:]}")
        return self.read(self.place.work, out), seconds

    def kill(self, words: Words, moment: float, number: signal.Signals, alone: bool) -> str | None:
        """Start it, and end it after so many seconds; what it was doing then, or None if it had ended.

        Raises:
            RuntimeError: It did not end as it should by a signal that can be handled.
        """
        with self.started(words) as process:
            try:
                process.wait(moment)
                return None
            except subprocess.TimeoutExpired:
                before = self._file("err").read_text(errors="replace").splitlines()
                if alone:
                    process.send_signal(number)
                else:
                    os.killpg(process.pid, number)
                code = process.wait(LIMIT)
            said = self._file("err").read_text(errors="replace")
        if code == 0:
            return None
        if code == -number and before and number != signal.SIGKILL and self.is_complete():
            return "ending"
        # handlers are in place when there is a first message
        if (code != INTERRUPTED and before and number != signal.SIGKILL) or "Traceback" in said:
            raise RuntimeError(f"{number.name} ended it with {code}: {said[-1500:]}")
        return re.sub(r"\d+.*", "", before[-1])[:60].strip() if before else "starting"

    def is_complete(self) -> bool:
        """Whether a result was printed: then the interpreter was ending, and no longer handles signals."""
        return self._file("out").stat().st_size > 0

    def _file(self, name: str) -> Path:
        return self.place.root / f"{name}-{id(self)}"


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two pieces of plain data differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [each for key in keys for each in differences(one.get(key), other.get(key), f"{where}/{key}")]
    return [] if one == other else [f"{where}: {str(other)[:60]} in place of {str(one)[:60]}"]


def known(table: Path) -> list[dict[str, Any]]:
    """The lines of the table so far."""
    return [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []


def add(table: Path, line: dict[str, Any]) -> None:
    """Append a line."""
    with table.open("a") as file:
        file.write(json.dumps(line) + "\n")
