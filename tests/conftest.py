"""What several rooms' tests share: the sample photographs, small made-up folders, the installed command."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkout import stale
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_data"
SHARED = ROOT.parent / "shared" / "data"
COMMAND = Path(sysconfig.get_path("scripts")) / "tlkit"


@dataclass(frozen=True)
class Ran:
    """How the installed command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="also run tests that repeat a check on more networks")


def pytest_configure(config: pytest.Config) -> None:
    """Test this checkout or nothing: an old copy in the environment would be tested without a word."""
    if not hasattr(config, "workerinput") and (message := stale(ROOT / "tlkit")):
        raise pytest.UsageError(message)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what repeats a check that also runs without it, unless asked for."""
    if not config.getoption("--thorough"):
        for item in items:
            if "thorough" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="repeats a check on another network: pytest --thorough"))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tests' own, so that they neither use nor change the user's."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["TLKIT_CACHE"] = str(folder)
    os.environ.pop("TLKIT_DEBUG", None)
    return folder


@pytest.fixture(scope="session")
def tlkit(cache: Path) -> Callable[..., Ran]:
    """Run the installed ``tlkit`` as a user does, in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [str(COMMAND), *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            timeout=300,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def start_and_signal(arguments: list[object], number: signal.Signals, at: str, cwd: Path) -> tuple[int, str]:
    """Run the command, send it a signal once a line on stderr starts so (a pattern); exit code and stderr."""
    # a shell's background jobs ignore interrupts, and what they start inherits that
    process = subprocess.Popen(
        [str(COMMAND), *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    watchdog = threading.Timer(240, process.kill)
    watchdog.start()
    lines, sent = [], False
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            lines.append(line)
            if not sent and re.match(at, line):
                process.send_signal(number)
                sent = True
    watchdog.cancel()
    return process.wait(), "".join(lines)


@pytest.fixture(scope="session")
def fastest(tlkit: Callable[..., Ran]) -> Callable[..., float]:
    """Seconds that the installed command takes at best: five runs after one that compiles the modules."""

    def measure(*arguments: object) -> float:
        times = []
        for _ in range(6):
            start = time.perf_counter()
            assert tlkit(*arguments).code == 0
            times.append(time.perf_counter() - start)
        return min(times[1:])

    return measure


@pytest.fixture(scope="session")
def garden() -> Path:
    return SAMPLES / "garden"


@pytest.fixture(scope="session")
def unseen() -> Path:
    return SAMPLES / "unseen"


@dataclass(frozen=True)
class Trained:
    """The sample's bundle and what training it printed."""

    bundle: Path
    result: dict[str, Any]
    ran: Ran


@pytest.fixture(scope="session")
def trained(tlkit: Callable[..., Ran], garden: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One bundle trained on the sample by the installed command, for all tests that only read one."""
    place = tmp_path_factory.mktemp("trained")
    ran = tlkit("train", garden, "--strategy", "freeze", "--json", cwd=place)
    assert ran.code == 0, ran.err
    return Trained(place / "garden.tlkit", ran.json, ran)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A larger real data set, where this machine has it."""

    def find(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"the data set {name} is not on this machine")
        return SHARED / name

    return find


def image(seed: int, size: tuple[int, int] = (40, 40), tint: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """A smooth random image, different for each seed; ``tint`` is added, so that classes can differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 160, (5, 5, 3)) + np.asarray(tint)
    small = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """``make_folder({"cats": 5, "train/dogs": 3})``: a folder with that many PNG images in each place."""

    def make(counts: dict[str, int], name: str = "images") -> Path:
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        tints = [(90, 0, 0), (0, 90, 0), (0, 0, 90), (90, 90, 0)]
        classes = sorted({place.split("/")[-1] for place in counts})
        for start, (place, count) in enumerate(counts.items()):
            (root / place).mkdir(parents=True)
            tint = tints[classes.index(place.split("/")[-1]) % len(tints)]
            for number in range(count):
                image(1000 * start + number, tint=tint).save(root / place / f"{number}.png")
        return root

    return make
