"""An installation without TensorFlow and Keras: what works, what is refused and how, and what comes of it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Ran, Trained
from hiding import Hide, hider
from packaging.requirements import Requirement

import tlkit as package
from tlkit.formats.keras_archive import OLDEST_KERAS

Tlkit = Callable[..., Ran]
SMALL = ("--backbone", "efficientnet-lite0", "--image-size", "64")
MISSING = "TensorFlow and Keras, which are not installed"
INSTALL = "hint: pip install tensorflow keras"


@pytest.fixture
def lean(monkeypatch: pytest.MonkeyPatch) -> Hide:
    """From now on, TensorFlow and Keras are not there."""
    hide = hider(monkeypatch)
    hide("keras", "tensorflow")
    return hide


@pytest.fixture
def photos(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"a": 8, "b": 8})


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--strategy", "fine-tune"], "--strategy fine-tune"),
        (["--strategy", "last-layers"], "--strategy last-layers"),
        (["--strategy", "early-layers"], "--strategy early-layers"),
        (["--backbone", "vgg16"], "--backbone vgg16"),
        (["--weights", "none"], "--weights other than imagenet"),
        (["--engine", "keras"], "--engine keras"),
    ],
)
def test_training_that_needs_them_is_refused_at_once(
    tlkit: Tlkit, lean: Hide, photos: Path, tmp_path: Path, options: list[str], what: str
) -> None:
    ran = tlkit("train", photos, *options, "-o", tmp_path / "m.tlkit")
    assert ran.code == 2
    assert ran.err.splitlines()[-2:] == [f"error: {what} needs {MISSING}", INSTALL]
    assert "Features" not in ran.err
    assert not list(tmp_path.glob("m.tlkit*"))


def test_more_that_is_refused(
    tlkit: Tlkit, lean: Hide, trained: Trained, small: Path, unseen: Path, photos: Path, tmp_path: Path
) -> None:
    for words, what in {
        ("train", photos, "--from", trained.bundle, "--strategy", "freeze"): "--from",
        ("train", photos, "--backbone", small): "--backbone small.keras",
        ("predict", unseen, "--model", trained.bundle, "--engine", "keras"): "--engine keras",
        ("explain", unseen, "--model", trained.bundle, "--feature-maps", "stage3"): "--feature-maps",
        ("embed", unseen, "--backbone", "vgg16", "--weights", "none", "--output", "v.npz"): "building vgg16",
        ("backbones", "show", "vgg16"): "tlkit backbones show",
    }.items():
        ran = tlkit(*words, cwd=tmp_path)
        assert ran.code == 2
        assert ran.err.splitlines()[-2:] == [f"error: {what} needs {MISSING}", INSTALL]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["images"]


def test_a_bundle_for_keras_only_is_refused(tlkit: Tlkit, lean: Hide, trained: Trained, unseen: Path) -> None:
    bundle = package.load(trained.bundle)
    bundle.manifest["files"].pop("model.tflite")
    with pytest.raises(package.TlkitError, match=r"a bundle without model\.tflite needs TensorFlow and Keras"):
        bundle.predict(next(unseen.iterdir()))


def test_one_of_them_is_not_enough(tlkit: Tlkit, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hider(monkeypatch)("keras")
    ran = tlkit("train", photos, "--strategy", "fine-tune")
    assert ran.code == 2
    assert ran.err.splitlines()[-2:] == [
        "error: --strategy fine-tune needs Keras, which is not installed",
        "hint: pip install keras",
    ]


def test_auto_keeps_to_the_frozen_head_and_says_what_is_missing(
    tlkit: Tlkit, lean: Hide, photos: Path, tmp_path: Path
) -> None:
    """The rule recommends to train weights on images as unlike ImageNet as these."""
    options = (*SMALL, "--advisor", "rule", "--features", "last")
    ran = tlkit("train", photos, *options, "-o", tmp_path / "m.tlkit", "--json")
    assert ran.code == 0, ran.err
    lacking = "TensorFlow and Keras are not installed (pip install tensorflow keras)"
    assert ran.json["strategy"] == "freeze"
    assert f"only the head was trained: {lacking}" in ran.json["warnings"]
    assert f"early-layers would be recommended, but {lacking}" in ran.json["plan"]["reasons"]
    assert f"note: strategy freeze: early-layers would be recommended, but {lacking}" in ran.err.splitlines()
    advice = tlkit("recommend", photos, *options, "--json").json
    assert advice["strategy"] == "freeze"
    assert f"early-layers would be recommended, but {lacking}" in advice["reasons"]


def test_what_keras_alone_can_build_is_not_compared(
    tlkit: Tlkit, lean: Hide, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlkit.backbones import catalog

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    file = catalog.cached_path(catalog.get("mobilenet"))
    file.parent.mkdir()
    file.write_bytes(b"weights")
    ran = tlkit("recommend", photos, "--backbone", "auto", "--image-size", "64", "--advisor", "rule", "--json")
    assert ran.code == 0, ran.err
    assert "only the 3 networks that come with tlkit are compared: TensorFlow and Keras are not installed" in ran.err
    assert {each["backbone"] for each in ran.json["frozen"]} <= {f"efficientnet-lite{number}" for number in range(3)}


def test_a_bundle_is_the_same_with_and_without_them(
    tlkit: Tlkit, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit; and Keras opens it, and trains on from it."""
    options = ("--strategy", "freeze", *SMALL, "--features", "last")
    assert tlkit("train", photos, *options, "-o", tmp_path / "full.tlkit").code == 0
    with monkeypatch.context() as patch:
        hider(patch)("keras", "tensorflow")
        ran = tlkit("train", photos, *options, "-o", tmp_path / "lean.tlkit", "--json")
        assert ran.code == 0, ran.err
        assert ran.json["warnings"] == []  # nothing was asked for that was not done
        rows = tlkit("predict", photos, "--model", tmp_path / "lean.tlkit", "--json").lines
    full, lean = (package.load(tmp_path / f"{name}.tlkit") for name in ("full", "lean"))
    assert lean.metadata["keras"] == OLDEST_KERAS
    assert (lean.path / "model.tflite").read_bytes() == (full.path / "model.tflite").read_bytes()
    assert rows == tlkit("predict", photos, "--model", lean.path, "--json").lines
    assert rows == tlkit("predict", photos, "--model", full.path, "--json").lines
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(lean.forward("keras")(pixels), full.forward("keras")(pixels))
    tuned = tlkit(
        *("train", photos, "--from", lean.path, "--strategy", "last-layers", "--boundary", "stage6"),
        *("--epochs", "0.5", "--image-size", "64", "--no-report", "-o", tmp_path / "tuned.tlkit", "--json"),
    )
    assert tuned.code == 0, tuned.err
    assert tuned.json["plan"]["from_bundle"] == "lean.tlkit"


def test_the_oldest_keras_is_that_of_the_declared_requirements() -> None:
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    (line,) = (line.strip() for line in text.splitlines() if line.strip().startswith("keras>"))
    requirement = Requirement(line)
    assert requirement.specifier.contains(OLDEST_KERAS)
    assert f">={OLDEST_KERAS.removesuffix('.0')}" in str(requirement)


def test_predict_imports_little(trained: Trained, unseen: Path) -> None:
    """Nothing but what predict-only.txt names, and of these libraries nothing that is large."""
    code = (
        "import sys, json; from tlkit.cli.app import run\n"
        f"code = run(['predict', {str(unseen)!r}, '--model', {str(trained.bundle)!r}])\n"
        "tops = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(json.dumps([code, sorted(each for each in tops if not each.startswith('_'))]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, imported = json.loads(ran.stdout.splitlines()[-1])
    assert status == 0
    allowed = {"PIL", *(name.replace("-", "_") for name in named("predict-only.txt")), "tlkit", "sitecustomize"}
    assert set(imported) - allowed == set()
    heavy = {"h5py", "jinja2", "keras", "loky", "matplotlib", "pandas", "pyarrow", "scipy", "sklearn", "tensorflow"}
    assert not heavy & (set(imported) | allowed)


def named(file: str) -> list[str]:
    """The packages that a file of requirements names for this system."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return [each.name for each in found if each.marker is None or each.marker.evaluate()]


def test_the_files_of_requirements_are_up_to_date() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_lean.py", "--check"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def installed(file: str, place: Path) -> Callable[..., Ran]:
    """A Python that has tlkit and the packages of a file and nothing else: links to where they are."""
    place.mkdir()
    for name in named(file):
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # that another release needs
            continue
        for top in {each.parts[0] for each in found.files or ()} - {"..", "__pycache__"}:
            if not (place / top).exists():
                try:
                    (place / top).symlink_to(Path(str(found.locate_file(top))).resolve())
                except OSError as error:
                    pytest.skip(f"links cannot be made here: {error}")
    code = f"import sys; sys.path += {[str(place), str(ROOT)]!r}; from tlkit.cli import main; main()"

    def run(*arguments: object, cwd: Path) -> Ran:
        command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def test_what_lean_txt_names_is_enough(trained: Trained, fresh: Path, garden: Path, tmp_path: Path) -> None:
    run = installed("lean.txt", tmp_path / "packages")
    for words in (
        ("train", garden, "--strategy", "freeze", *SMALL, "--features", "last", "--no-refit", "-o", "new.tlkit"),
        ("evaluate", fresh, "--model", "new.tlkit", "--report", "page.html"),
        ("explain", fresh, "--model", trained.bundle, "-o", "drawings"),
    ):
        ran = run(*words, cwd=tmp_path)
        assert ran.code == 0, ran.err
    assert (tmp_path / "new.tlkit" / "report.html").is_file()
    ran = run("train", garden, "--strategy", "fine-tune", cwd=tmp_path)
    assert (ran.code, ran.err.splitlines()[-1]) == (2, INSTALL)


def test_what_predict_only_txt_names_is_enough(trained: Trained, unseen: Path, tlkit: Tlkit, tmp_path: Path) -> None:
    run = installed("predict-only.txt", tmp_path / "packages")
    words = ("predict", unseen, "--model", trained.bundle, "--json")
    assert run(*words, cwd=tmp_path).lines == tlkit(*words).lines
    ran = run("evaluate", unseen, "--model", trained.bundle, cwd=tmp_path)
    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith("hint: pip install scipy scikit-learn")


@pytest.mark.thorough
@pytest.mark.parametrize("file", ["lean.txt", "predict-only.txt"])
def test_the_recipe(file: str, trained: Trained, unseen: Path, tmp_path: Path) -> None:
    """The commands of docs/install.md in a new environment; from a package index, so it may take minutes."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    for words in (["-r", str(ROOT / file)], ["--no-deps", str(ROOT)]):
        ran = subprocess.run(
            [python, "-m", "pip", "install", "-q", *words], capture_output=True, text=True, check=False
        )
        if ran.returncode != 0:
            pytest.skip(f"pip cannot install here: {ran.stderr.splitlines()[-1]}")
    environment = {**os.environ, "TLKIT_CACHE": str(tmp_path / "cache")}

    def run(*arguments: object) -> Any:
        command = [python, "-I", "-m", "tlkit", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    assert run("predict", unseen, "--model", trained.bundle).returncode == 0
    found = json.loads(run("doctor", "--json").stdout)
    assert found["ok"]
    (kind,) = (each["detail"] for each in found["findings"] if each["name"] == "installed")
    assert kind.startswith(file.split(".")[0].replace("-", " "))


def test_dir_shows_the_public_names() -> None:
    assert set(package.__all__) <= set(dir(package))
    assert all(hasattr(package, name) for name in package.__all__)
    assert {"load", "predict", "train", "export", "Classifier"} <= set(package.__all__)
