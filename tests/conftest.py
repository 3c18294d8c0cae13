"""What several rooms' tests share: the sample photographs, small made-up folders, the command, trained bundles."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkout import stale
from filelock import FileLock
from hypothesis import HealthCheck, settings
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_data"
SHARED = ROOT.parent / "shared" / "data"
COMMAND = Path(sysconfig.get_path("scripts")) / "tlkit"
Make = Callable[[Path], None]
PLAIN_FREEZE = (
    *("--strategy", "freeze", "--backbone", "efficientnet-lite0", "--image-size", "224"),
    *("--features", "last", "--no-refit"),
)
"""Options of a frozen network of which nothing is left to be measured: always the same, and fast."""


# how many examples property tests draw; where one costs little and a defect hides well, a test takes some times as many
EXAMPLES = {"ci": 20, "dev": 50, "thorough": 500}
for name, number in EXAMPLES.items():
    settings.register_profile(
        name,
        max_examples=number,
        deadline=None,
        derandomize=name == "ci",
        suppress_health_check=[HealthCheck.too_slow],
    )
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI", "") not in ("", "false") else "dev")
settings.load_profile(PROFILE)


def examples(times: float) -> int:
    """So many times the examples of the profile."""
    return max(1, round(times * settings.default.max_examples))


@dataclass(frozen=True)
class Ran:
    """How the command ended."""

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


LONG = ("api/train/test_tuning", "api/test_api", "test_trainable", "test_own_backbone", "test_faults", "test_build")
"""Files that take longest; they go first, so that none of them is left for one process at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put files that take long first; leave out what repeats a check that also runs without it, unless asked for."""
    items.sort(key=lambda item: not item.path.as_posix().removesuffix(".py").endswith((*LONG, "test_strangers")))
    if not config.getoption("--thorough"):
        for item in items:
            if "thorough" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="repeats a check on another network: pytest --thorough"))


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> None:
    """The garbage collector need not look again and again at what stays until the end: TensorFlow, 5,000 tests."""
    if "keras" in sys.modules and gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Make], Path]:
    """``make_once("name", make)``: a folder that is filled once, whichever of pytest's processes asks first."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def get(name: str, make: Make) -> Path:
        place, done = root / "shared" / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(place, ignore_errors=True)  # of one that failed
                place.mkdir(parents=True)
                make(place)
                done.touch()
        return place

    return get


@pytest.fixture(scope="session", autouse=True)
def cache(make_once: Callable[[str, Make], Path]) -> Path:
    """A cache of the tests' own, so that they neither use nor change the user's; one for all of pytest's processes."""
    folder = make_once("cache", lambda place: None)
    os.environ["TLKIT_CACHE"] = str(folder)
    os.environ.pop("TLKIT_DEBUG", None)
    return folder


@pytest.fixture(scope="session", autouse=True)
def without_plots() -> Iterator[pytest.MonkeyPatch]:
    """Pages without their plots, which take a quarter of the time of a small training; see `draws`."""
    from markupsafe import Markup

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlkit.report.plots._svg", lambda figure, legible=0.0: Markup("<svg></svg>"))
        yield patch


@pytest.fixture(scope="module")
def draws(without_plots: pytest.MonkeyPatch) -> Iterator[None]:
    """Plots are drawn: for tests of pages."""
    from tlkit.report import plots

    instead = plots._svg
    without_plots.undo()
    yield
    without_plots.setattr(plots, "_svg", instead)


@pytest.fixture(scope="module")
def one_bundle() -> Iterator[None]:
    """Training saves its result alone, without the frozen networks before it: a third of the time of a small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlkit.api.train.usable.Saver._save_frozen", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def installed(cache: Path) -> Callable[..., Ran]:
    """Run the installed ``tlkit`` as a user does, in a process of its own: seconds more than `tlkit`.

    For what is about the process: that it starts, what libraries print, what is imported, signals, pipes.
    """

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


@pytest.fixture(scope="session")
def tlkit(cache: Path) -> Callable[..., Ran]:
    """Run the command line in this process: everything behind the console script, without its start.

    Streams are files of their own, down to the descriptors that native code and child processes write to; the folder,
    the environment and the handlers of signals are as before afterwards.
    """
    from tlkit.cli.app import run as run_command

    def run(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ran:
        return in_process(run_command, arguments, cwd, env)

    return run


def in_process(
    run: Callable[[list[str]], int], arguments: Iterable[object], cwd: Path | None, env: dict[str, str] | None = None
) -> Ran:
    """Run a function that takes the command line's arguments, as the fixture `tlkit` does."""
    with _surroundings(cwd, env), _streams() as (out, err):
        try:
            code = run([*map(str, arguments)])
        except SystemExit as leaving:  # as `tlkit.cli.main` would
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
        read = [os.pread(each, os.fstat(each).st_size, 0).decode() for each in (out, err)]
    return Ran(code, *read)


@contextmanager
def _surroundings(cwd: Path | None, env: dict[str, str] | None) -> Iterator[None]:
    """What a process has of its own: folder, environment, signal handlers."""
    before, variables = Path.cwd(), dict(os.environ)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        os.environ.update(env or {})
        os.chdir(cwd or before)
        yield
    finally:
        os.chdir(before)
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)
        for each, handler in handlers.items():
            signal.signal(each, handler)


@contextmanager
def _streams() -> Iterator[tuple[int, int]]:
    """Descriptors of two files, to which standard output and error go, from Python and from below it."""
    before = sys.stdout, sys.stderr
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()).fileno() for _ in before]
        for number, file in enumerate(files, 1):
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            os.dup2(file, number)
        sys.stdout = stack.enter_context(os.fdopen(1, "w", encoding="utf-8", closefd=False))
        sys.stderr = stack.enter_context(os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1))
        try:
            yield files[0], files[1]
        finally:
            sys.stdout, sys.stderr = before


def start_and_signal(
    arguments: list[object],
    number: signal.Signals,
    at: str,
    cwd: Path,
    env: dict[str, str] | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Ran:
    """Run the installed command and send it a signal once a line on stderr starts so (a pattern).

    ``meanwhile`` is called just before the signal is sent.
    """
    # a shell's background jobs ignore interrupts, and what they start inherits that
    process = subprocess.Popen(
        [str(COMMAND), *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    watchdog = threading.Timer(240, process.kill)
    watchdog.start()
    lines, sent = [], False
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        for line in process.stderr:
            lines.append(line)
            if not sent and re.match(at, line):
                meanwhile()
                process.send_signal(number)
                sent = True
        out = process.stdout.read()  # the few lines of a result: no pipe is full before
    watchdog.cancel()
    assert sent, lines
    return Ran(process.wait(), out, "".join(lines))


@pytest.fixture(scope="session")
def garden() -> Path:
    return SAMPLES / "garden"


@pytest.fixture(scope="session")
def fresh(unseen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images that the sample's bundles were not trained on, as class folders."""
    root = tmp_path_factory.mktemp("fresh")
    for file in sorted(unseen.iterdir()):
        if file.suffix in (".png", ".jpg"):
            place = root / file.name.split("-")[0] / file.name
            place.parent.mkdir(exist_ok=True)
            shutil.copy(file, place)
    return root


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
def trained(installed: Callable[..., Ran], garden: Path, make_once: Callable[[str, Make], Path]) -> Trained:
    """One bundle trained on the sample by the installed command, for all tests that only read one.

    What would be measured is given, so that tests may rely on the network.
    """

    def make(place: Path) -> None:
        ran = installed("train", garden, *PLAIN_FREEZE, "--json", cwd=place)
        assert ran.code == 0, ran.err
        (place / "ran.json").write_text(json.dumps(asdict(ran)))

    place = make_once("trained", make)
    ran = Ran(**json.loads((place / "ran.json").read_text()))
    return Trained(place / "garden.tlkit", ran.json, ran)


def changed(bundle: Path, target: Path, **changes: Any) -> Path:
    """A copy of a bundle with some changes of its manifest; its labels go with its classes."""
    from tlkit.bundle.manifest import LABELS
    from tlkit.bundle.save import MANIFEST, manifest_digest
    from tlkit.files import file_hash
    from tlkit.formats.card import labels_text

    shutil.copytree(bundle, target)
    manifest = json.loads((target / MANIFEST).read_text())
    manifest.update(changes)
    (target / LABELS).write_text(labels_text(manifest["classes"]))
    manifest["files"][LABELS] = file_hash(target / LABELS)
    manifest["digest"] = manifest_digest({key: value for key, value in manifest.items() if key != "digest"})
    (target / MANIFEST).write_text(json.dumps(manifest))
    return target


@pytest.fixture(scope="session")
def other(trained: Trained, make_once: Callable[[str, Make], Path]) -> Path:
    """The sample's bundle, but it takes each class for the next one: always wrong where the other is right."""

    def make(place: Path) -> None:
        names = trained.result["classes"]
        changed(trained.bundle, place / "other.tlkit", classes=[*names[1:], names[0]])

    return make_once("other", make) / "other.tlkit"


@pytest.fixture(scope="session")
def small(make_once: Callable[[str, Make], Path]) -> Path:
    """The file of a network of three convolutions of 16 x 16 pixels: trains in seconds what does not depend on it."""
    from digits import small_network

    return make_once("small", lambda place: small_network(rescaling=True).save(place / "small.keras")) / "small.keras"


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


ADDED: dict[str, Any] = {"strategy": "freeze", "backbone": "efficientnet-lite0", "image_size": 32, "report": False}
"""Options of a small bundle that keeps features."""


def draw_images(root: Path, place: str, seeds: range, tint: tuple[int, int, int]) -> None:
    (root / place).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        image(seed, tint=tint).save(root / place / f"{seed}.png")


@pytest.fixture(scope="session")
def base(make_once: Callable[[str, Make], Path]) -> Path:
    """A bundle of two classes with kept features, its images, and new ones of three classes."""

    import tlkit

    def make(place: Path) -> None:
        for label, start, tint in (("a", 0, (90, 0, 0)), ("b", 100, (0, 90, 0))):
            draw_images(place / "old", label, range(start, start + 24, 2), tint)
            draw_images(place / "new", label, range(start + 1, start + 13, 2), tint)
        draw_images(place / "new", "c", range(200, 208), (0, 0, 90))
        tlkit.train(place / "old", output=place / "old.tlkit", features="last", keep_features=True, **ADDED)

    return make_once("added", make)


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


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Twenty different images."""
    paths = [tmp_path / f"{n}.png" for n in range(20)]
    for n, path in enumerate(paths):
        image(n).save(path)
    return paths
