"""A network of one's own as ``--backbone``, as a user does it: every strategy, plans, resuming, a file that moved."""

from __future__ import annotations

import json
import shutil
import signal
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran, start_and_signal
from digits import SIDE, trained_network, write_folder

import tlkit as package
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.start import prepare_start
from tlkit.backbones.runtime import import_keras
from tlkit.context import Context
from tlkit.images.read import read_image

pytestmark = pytest.mark.usefixtures("one_bundle")

Tlkit = Callable[..., Ran]
SCALED = ["--preprocessing", "scale-0-1"]
QUICK = ["--epochs", "2", "--learning-rate", "1e-3"]


@dataclass(frozen=True)
class Own:
    """Images of digits, and the file of a network that was trained on others."""

    images: Path
    file: Path
    image: Path


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Own:
    place = tmp_path_factory.mktemp("digits")
    images = write_folder(place / "images")
    trained_network().save(place / "digits.keras")
    return Own(images, place / "digits.keras", next((images / "3").iterdir()))


@pytest.fixture(scope="module")
def early(tlkit: Tlkit, own: Own, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of its first two stages, made from a file that is gone since."""
    place = tmp_path_factory.mktemp("early")
    shutil.copy(own.file, place / "gone.keras")
    options = ["--strategy", "early-layers", "--boundary", "stage2", "--features", "all", "--epochs", "0"]
    ran = tlkit("train", own.images, "--backbone", "gone.keras", *SCALED, *options, "-o", "early.tlkit", cwd=place)
    assert ran.code == 0, ran.err
    (place / "gone.keras").unlink()
    return place / "early.tlkit"


def check_bundle(path: Path, ran: Ran, own: Own) -> None:
    """It answers by itself, alike in Keras and LiteRT, better than by chance, and names no folder."""
    assert ran.code == 0, ran.err
    bundle = package.load(path)
    assert bundle.manifest["backbone"].startswith("digits-")
    assert bundle.input_size == (SIDE, SIDE)
    assert str(own.file.parent) not in (path / "tlkit.json").read_text() + (path / "plan.json").read_text()
    assert bundle.manifest["metrics"]["val_accuracy"] > 0.5
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    apart = bundle.forward("litert")(pixels)[:, : len(bundle.classes)] - np.asarray(
        bundle.model(pixels.astype(np.float32), training=False)
    )
    assert np.abs(apart).max() < 1e-4


def test_freeze_takes_a_renamed_files_features_from_the_cache(
    tlkit: Tlkit, own: Own, early: Path, tmp_path: Path
) -> None:
    """``early`` has computed them, of a file with another name."""
    ran = tlkit(
        "train", own.images, "--backbone", own.file, *SCALED, "--strategy", "freeze", "-o", "m.tlkit", cwd=tmp_path
    )
    check_bundle(tmp_path / "m.tlkit", ran, own)
    assert "preprocessing scale-0-1 (scale to 0..1)" in ran.err
    assert "reused the features of 140 of 140 images" in ran.err


@pytest.mark.parametrize("strategy", ["last-layers", pytest.param("early-layers", marks=pytest.mark.thorough)])
def test_weights_are_trained(tlkit: Tlkit, own: Own, tmp_path: Path, strategy: str) -> None:
    options = ["--strategy", strategy, *QUICK, "-o", "m.tlkit"]
    ran = tlkit("train", own.images, "--backbone", own.file, *SCALED, *options, cwd=tmp_path)
    check_bundle(tmp_path / "m.tlkit", ran, own)


def test_auto_chooses_and_says_so(tlkit: Tlkit, own: Own, tmp_path: Path) -> None:
    ran = tlkit("train", own.images, "--backbone", own.file, *SCALED, *QUICK, "-o", "m.tlkit", cwd=tmp_path)
    check_bundle(tmp_path / "m.tlkit", ran, own)
    assert "note: strategy " in ran.err


def test_a_bundle_needs_the_file_no_more(tlkit: Tlkit, own: Own, early: Path, tmp_path: Path) -> None:
    predicted = tlkit("predict", own.image, "--model", early, "--json")
    assert predicted.code == 0, predicted.err
    assert len(predicted.lines[0]["top"]) > 1
    evaluated = tlkit("evaluate", own.images, "--model", early, "--json")
    assert evaluated.code == 0, evaluated.err
    stage = ["--feature-maps", "stage1", "-o", tmp_path / "seen", "--json"]
    explained = tlkit("explain", own.image, "--model", early, *stage)
    assert explained.code == 0, explained.err
    assert Path(explained.json[0]["maps"]).is_file()
    wrong = tlkit("explain", own.image, "--model", early, "--feature-maps", "stage3", "-o", tmp_path / "not")
    assert wrong.code == 2
    assert "one of stage1, stage2" in wrong.err


def test_vectors_come_from_the_file_and_from_a_bundle_without_it(
    tlkit: Tlkit, own: Own, early: Path, tmp_path: Path
) -> None:
    ran = tlkit("embed", own.images, "--backbone", own.file, *SCALED, "--output", tmp_path / "v.npz", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["backbone"].startswith("digits-")
    ran = tlkit("embed", own.image, "--model", early, "--output", tmp_path / "early.npz", "--json")
    assert ran.code == 0, ran.err
    model = package.load(early).model
    seen = import_keras().Model(model.input, model.get_layer("logits").input)
    pixels = read_image(own.image, (SIDE, SIDE))[None].astype(np.float32)
    found = np.load(tmp_path / "early.npz")["vector"]
    np.testing.assert_allclose(found, np.asarray(seen(pixels, training=False)), rtol=2e-3, atol=2e-3)
    ran = tlkit("embed", own.images, "--model", early, *SCALED, "--output", tmp_path / "no.npz")
    assert (ran.code, ran.out) == (2, "")
    assert "--preprocessing" in ran.err


def test_training_starts_from_a_bundle_whose_file_is_gone(tlkit: Tlkit, own: Own, early: Path, tmp_path: Path) -> None:
    ran = tlkit("train", own.images, "--from", early, "--strategy", "fine-tune", *QUICK, "-o", "m.tlkit", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "has the first stages only" in ran.err
    before, after = package.load(early).manifest, package.load(tmp_path / "m.tlkit").manifest
    assert after["backbone"] == before["backbone"]
    assert after["own_backbone"] == before["own_backbone"]
    again = tlkit("train", own.images, "--plan", tmp_path / "m.tlkit" / "plan.json", cwd=tmp_path)
    assert again.code == 2
    assert "starts from the bundle early.tlkit" in again.err


def test_a_plan_finds_its_file_or_is_told_where_it_is(tlkit: Tlkit, own: Own, tmp_path: Path) -> None:
    shutil.copy(own.file, tmp_path / "mine.keras")
    ran = tlkit(
        "recommend",
        own.images,
        "--backbone",
        "mine.keras",
        *SCALED,
        "--no-pilot",
        "--plan",
        "p.json",
        "--json",
        cwd=tmp_path,
    )
    assert ran.code == 0, ran.err
    assert ran.json["backbone"].startswith("mine-")
    plan = json.loads((tmp_path / "p.json").read_text())
    assert plan["backbone_file"] == str(tmp_path / "mine.keras")
    assert plan["preprocessing"] == "scale-0-1"
    (tmp_path / "p.json").write_text(json.dumps({**plan, "strategy": "freeze"}))
    train = ["train", own.images, "--plan", "p.json", "-o", "m.tlkit"]
    (tmp_path / "mine.keras").rename(tmp_path / "moved.keras")
    gone = tlkit(*train, cwd=tmp_path)
    assert gone.code == 2
    assert "is missing" in gone.err
    assert "--backbone" in gone.err
    shutil.copy(tmp_path / "moved.keras", tmp_path / "other.keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "a") as archive:
        archive.comment = b"more"
    other = tlkit(*train, "--backbone", "other.keras", cwd=tmp_path)
    assert other.code == 2
    assert "its content differs" in other.err
    named = tlkit(*train, "--backbone", "vgg16", cwd=tmp_path)
    assert named.code == 2
    assert "is a file, not 'vgg16'" in named.err
    assert not (tmp_path / "m.tlkit").exists()
    done = tlkit(*train, "--backbone", "moved.keras", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.json["strategy"] == "freeze"


def test_an_interrupted_run_goes_on_with_the_same_file_alone(tlkit: Tlkit, own: Own, tmp_path: Path) -> None:
    file = Path(shutil.copy(own.file, tmp_path / "mine.keras"))
    options = [*SCALED, "--strategy", "fine-tune", "--epochs", "8", "--learning-rate", "1e-3", "-o", "m.tlkit"]
    command = ["train", own.images, "--backbone", "mine.keras", *options]
    ran = start_and_signal(command, signal.SIGINT, "step [1-9]", tmp_path)
    assert ran.code == 130, ran.err
    content = file.read_bytes()
    file.unlink()
    gone = tlkit("train", "--resume", "m.tlkit-run", cwd=tmp_path)
    assert gone.code == 2
    assert "no such file" in gone.err
    file.write_bytes(content[:1000])
    broken = tlkit("train", "--resume", "m.tlkit-run", cwd=tmp_path)
    assert broken.code == 2
    assert "damaged" in broken.err
    assert (tmp_path / "m.tlkit-run").is_dir()
    file.write_bytes(content)
    ran = tlkit("train", "--resume", "m.tlkit-run", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["tuning"]["steps"] > 0
    assert package.load(tmp_path / "m.tlkit").manifest["backbone"].startswith("mine-")


@pytest.mark.parametrize("kind", ["file", "bundle"])
def test_a_run_starts_from_the_same_again(own: Own, early: Path, kind: str) -> None:
    """A resumed run does, with its request and its plan from its folder."""
    if kind == "file":
        request = TrainOptions.make(own.images, backbone=own.file, preprocessing="scale-0-1")
    else:
        request = TrainOptions.make(own.images, from_bundle=early)
    start = prepare_start(request, Context())
    kept = TrainOptions.from_json(json.loads(json.dumps(request.to_json())))
    again = prepare_start(kept, Context(), start.plan)
    assert again.planned
    assert replace(again, planned=False) == start


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--backbone", "nothing.keras"], "no such file"),
        (["--backbone", "./notes.txt"], "is not a .keras file"),
        (["--backbone", "bad.keras", *SCALED], "damaged"),
        (["--backbone", "good.keras"], "the preprocessing of"),
        (["--backbone", "good.keras", "--preprocessing", "odd"], "unknown --preprocessing"),
        (["--backbone", "good.keras", *SCALED, "--image-size", "32"], "takes 16x16 pixels, not 32x32"),
        (["--backbone", "good.keras", *SCALED, "--weights", "none"], "the file has its own"),
        (["--backbone", "vgg16", *SCALED], "--preprocessing requires"),
        (["--backbone", "auto", *SCALED], "--preprocessing requires"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    tlkit: Tlkit, own: Own, tmp_path: Path, options: list[str], said: str
) -> None:
    (tmp_path / "notes.txt").write_text("no network")
    (tmp_path / "bad.keras").write_bytes(own.file.read_bytes()[:2000])
    shutil.copy(own.file, tmp_path / "good.keras")
    command = "train" if "good.keras" in options else "recommend"
    ran = tlkit(command, own.images, *options, cwd=tmp_path)
    assert ran.code == 2
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in ran.err
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "bad.keras", "good.keras"}
