from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ran, Trained
from PIL import Image

import tlkit as api
from tlkit.api.predict import Prediction
from tlkit.api.prediction_rows import Counts
from tlkit.bundle.load import load
from tlkit.bundle.run import answers
from tlkit.bundle.save import manifest_digest
from tlkit.cli import predict as module

Tlkit = Callable[..., Ran]
Mirrored = tuple[Path, list[Any], dict[str, Any]]


def truth(file: str) -> str:
    return Path(file).name.split("-")[0]


@pytest.fixture(scope="module")
def labelled(tlkit: Tlkit, trained: Trained, unseen: Path) -> Ran:
    return tlkit("predict", unseen, "--model", trained.bundle, "--json")


def test_unseen_images_are_labelled_right(labelled: Ran) -> None:
    rows = labelled.lines
    assert len(rows) == 8
    assert sum(row["label"] == truth(row["file"]) for row in rows) >= 0.8 * len(rows)
    for row in rows:
        assert set(row) == {"file", "label", "probability", "top", "unknown", "error"}
        assert row["error"] is None
        assert row["top"][0] == {"label": row["label"], "probability": row["probability"]}
        assert sum(each["probability"] for each in row["top"]) == pytest.approx(1, abs=1e-5)


def test_a_moved_bundle_gives_the_same_answers(
    tlkit: Tlkit, trained: Trained, labelled: Ran, unseen: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "ü b.tlkit"
    shutil.copytree(trained.bundle, moved)
    ran = tlkit("predict", unseen, "--json", cwd=moved.parent)  # the newest bundle in the folder is the default
    assert ran.lines == labelled.lines
    assert "note: model: " in ran.err
    assert "ü b.tlkit" in ran.err


def test_formats(tlkit: Tlkit, trained: Trained, labelled: Ran, unseen: Path) -> None:
    as_csv = tlkit("predict", unseen, "--model", trained.bundle, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(as_csv.out)))
    assert [row["label"] for row in rows] == [row["label"] for row in labelled.lines]
    table = tlkit("predict", unseen / "birds-magpie.png", "--model", trained.bundle, "--format", "table").out
    assert table.splitlines()[0].split() == ["label", "probability", "next", "best", "note", "file"]
    assert table.splitlines()[1].startswith("birds")


def test_files_folders_and_patterns_each_once(tlkit: Tlkit, trained: Trained, unseen: Path, tmp_path: Path) -> None:
    odd = tmp_path / "[odd] na*me"
    odd.mkdir()
    shutil.copy(unseen / "birds-magpie.png", odd / "-x.png")
    ran = tlkit(
        "predict",
        "--json",
        "--model",
        trained.bundle,
        unseen / "birds-*",
        unseen / "birds-magpie.png",
        odd / "-x.png",
        odd,
    )
    assert [Path(row["file"]).name for row in ran.lines] == ["birds-magpie.png", "birds-silver-gull.png", "-x.png"]


def test_unreadable_images_become_rows(tlkit: Tlkit, trained: Trained, unseen: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    cut = (unseen / "birds-magpie.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(cut[:-2000])
    (tmp_path / "loop").symlink_to(tmp_path)
    mixed = tlkit(
        "predict", "--json", "-m", trained.bundle, tmp_path, unseen / "fruit-apple_fuji.png", tmp_path / "no.png"
    )
    assert mixed.code == 0
    rows = {Path(row["file"]).name: row for row in mixed.lines}
    assert len(rows) == 5
    assert rows["fruit-apple_fuji.png"]["label"] == "fruit"
    for name in ("text.jpg", "empty.png", "cut.png", "no.png"):
        assert rows[name]["label"] is rows[name]["probability"] is None
        assert rows[name]["error"]
        assert rows[name]["top"] == []
    none = tlkit("predict", "--json", "-m", trained.bundle, tmp_path)
    assert none.code == 2
    assert len(none.lines) == 3


def test_what_cannot_be_predicted_is_said(tlkit: Tlkit, trained: Trained, unseen: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    changed = tmp_path / "changed.tlkit"
    shutil.copytree(trained.bundle, changed)
    with (changed / "model.keras").open("ab") as file:
        file.write(b"x")
    cases = [
        (["empty", "-m", trained.bundle], "no images in empty"),
        ([unseen, "-m", "none.tlkit"], "no such bundle: none.tlkit"),
        ([unseen, "-m", changed], "model.keras was changed"),
        ([unseen, "-m", unseen], "not a tlkit bundle"),
    ]
    for arguments, message in cases:
        ran = tlkit("predict", *arguments, cwd=tmp_path)
        assert (ran.code, ran.out) == (2, ""), ran.err
        assert f"error: {message}" in ran.err or message in ran.err
    (tmp_path / "bare").mkdir()
    ran = tlkit("predict", unseen, cwd=tmp_path / "bare")
    assert ran.code == 2
    assert "no .tlkit bundle in" in ran.err
    assert "hint: " in ran.err


def test_a_reader_that_leaves_early_is_no_error(trained: Trained, unseen: Path) -> None:
    import subprocess

    from conftest import COMMAND

    line = f"'{COMMAND}' predict '{unseen}' --json -m '{trained.bundle}' | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("\n") == 1


def test_predict_does_without_tensorflow(
    installed: Tlkit, trained: Trained, labelled: Ran, unseen: Path, tmp_path: Path
) -> None:
    """Where importing TensorFlow, Keras or scikit-learn ends the process, the answers are the same."""
    for name in ("tensorflow", "keras", "sklearn", "scipy", "h5py"):
        (tmp_path / f"{name}.py").write_text(f"import os; os.write(2, b'{name} was imported'); os._exit(9)")
    env = {"PYTHONPATH": str(tmp_path)}
    ran = installed("predict", unseen, "--model", trained.bundle, "--json", env=env)
    assert ran.code == 0, ran.err
    assert ran.out == labelled.out
    assert installed("predict", unseen, "--model", trained.bundle, "--engine", "keras", env=env).code == 9


def test_the_engines_agree(tlkit: Tlkit, trained: Trained, labelled: Ran, unseen: Path) -> None:
    keras = tlkit("predict", unseen, "--model", trained.bundle, "--json", "--engine", "keras")
    assert keras.code == 0, keras.err
    for one, other in zip(labelled.lines, keras.lines, strict=True):
        assert one["label"] == other["label"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-4)


@pytest.mark.parametrize("form", list(module.Format))
def test_every_row_is_written_out_before_the_next_is_computed(
    monkeypatch: pytest.MonkeyPatch, form: module.Format
) -> None:
    class Pipe(io.StringIO):
        """Keeps what was flushed apart from what still waits."""

        seen = ""

        def flush(self) -> None:
            self.seen = self.getvalue()

    pipe = Pipe()
    monkeypatch.setattr("sys.stdout", pipe)

    def rows() -> Iterator[Prediction]:
        for number in range(3):
            yield Prediction(f"{number}.png", "a", 0.5, (("a", 0.5), ("b", 0.5)), None, None)
            assert f"{number}.png" in pipe.seen

    counts = Counts()
    module._show(form, False, None, False)(rows(), counts)
    assert str(counts) == "3 labelled"


def test_an_unknown_engine_is_said(tlkit: Tlkit, trained: Trained, unseen: Path) -> None:
    for command in (["predict", unseen, "--model", trained.bundle], ["train", unseen.parent / "garden"]):
        ran = tlkit(*command, "--engine", "abacus")
        assert ran.code == 2
        assert ran.out == ""
        assert re.search(r"error: unknown (--)?engine 'abacus'", ran.err)
        assert "hint: one of auto, litert, keras" in ran.err


def test_a_bundle_without_its_lite_network_runs_on_keras(
    tlkit: Tlkit, trained: Trained, labelled: Ran, unseen: Path, tmp_path: Path
) -> None:
    """As bundles of a network that LiteRT cannot run, or written where it was not installed."""
    bundle = tmp_path / "m.tlkit"
    shutil.copytree(trained.bundle, bundle)
    (bundle / "model.tflite").unlink()
    manifest = json.loads((bundle / "tlkit.json").read_text())
    del manifest["files"]["model.tflite"]
    manifest["digest"] = manifest_digest(manifest)
    (bundle / "tlkit.json").write_text(json.dumps(manifest))
    ran = tlkit("predict", unseen, "--model", bundle, "--json")
    assert [row["label"] for row in ran.lines] == [row["label"] for row in labelled.lines]
    refused = tlkit("predict", unseen, "--model", bundle, "--engine", "litert")
    assert refused.code == 2
    assert "has no model.tflite" in refused.err


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that are no photographs of anything in the garden."""
    folder = tmp_path_factory.mktemp("strange")
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / f"noise{number}.png")
        stripes = np.indices((128, 128))[number % 2] // (3 + number) % 2 * 255
        Image.fromarray(stripes.astype(np.uint8)).save(folder / f"stripes{number}.png")
    return folder


def test_images_of_something_else_are_unknown(
    tlkit: Tlkit, trained: Trained, labelled: Ran, strange: Path, unseen: Path
) -> None:
    rows = tlkit("predict", strange, "--model", trained.bundle, "--json").lines
    assert [row["unknown"] for row in rows] == [True] * 8
    assert all(row["label"] for row in rows)  # it says what it is most like all the same
    assert sum(row["unknown"] for row in labelled.lines) <= 2
    table = tlkit("predict", strange / "noise0.png", unseen, "--model", trained.bundle, "--format", "table").out
    assert "  unknown  " in table.splitlines()[1]


def test_the_rate_of_false_alarms_can_be_set(tlkit: Tlkit, trained: Trained, strange: Path, unseen: Path) -> None:
    def marked(folder: Path, rate: float) -> int:
        ran = tlkit("predict", folder, "--model", trained.bundle, "--unknown-rate", rate, "--format", "csv")
        return [row["unknown"] for row in csv.DictReader(io.StringIO(ran.out))].count("true")

    assert marked(strange, 0) == 0
    assert marked(unseen, 0.5) >= 2
    ran = tlkit("predict", unseen, "--model", trained.bundle, "--unknown-rate", 0.9)
    assert (ran.code, ran.out) == (2, "")
    assert "error: --unknown-rate" in ran.err


def test_both_engines_agree_on_what_is_unlike(trained: Trained, unseen: Path) -> None:
    bundle = load(trained.bundle)
    files = sorted(unseen.iterdir())
    lite, keras = ([each.ood_score for each in answers(files, bundle, engine=engine)] for engine in ("litert", "keras"))
    np.testing.assert_allclose(np.array(lite, float), np.array(keras, float), rtol=1e-3, atol=1e-2)


def test_a_bundle_that_cannot_tell_says_null(tlkit: Tlkit, trained: Trained, unseen: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.tlkit"
    shutil.copytree(trained.bundle, old)
    (old / "known.npz").unlink()
    manifest = json.loads((old / "tlkit.json").read_text())
    del manifest["unknown"], manifest["files"]["known.npz"]
    manifest["digest"] = manifest_digest(manifest)
    (old / "tlkit.json").write_text(json.dumps(manifest))
    file = next(iter(unseen.iterdir()))
    (row,) = tlkit("predict", file, "--model", old, "--json").lines
    assert row["unknown"] is None
    ran = tlkit("predict", file, "--model", old, "--unknown-rate", 0.1)
    assert (ran.code, ran.out) == (2, "")
    assert "requires a bundle that can flag unknown images" in ran.err


def with_flips(bundle: Path, place: Path, flips: dict[str, object] | None) -> Path:
    """A copy of a bundle that says this of mirrored images."""
    copy = place / "flips.tlkit"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "tlkit.json").read_text())
    manifest["flips"] = flips
    manifest["digest"] = manifest_digest(manifest)
    (copy / "tlkit.json").write_text(json.dumps(manifest))
    return copy


def test_tta_is_the_mean_over_a_image_and_its_mirror_image(
    tlkit: Tlkit, trained: Trained, unseen: Path, tmp_path: Path
) -> None:
    flips = {"harmless": True, "images": 60, "plain": 0.9, "mirrored": 0.9}
    bundle = with_flips(trained.bundle, tmp_path, flips)
    file, mirror = unseen / "birds-magpie.png", tmp_path / "mirror.png"
    with Image.open(file) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirror)
    plain = [dict(row.top) for row in api.predict([file, mirror], bundle)]
    (row,) = tlkit("predict", file, "--model", bundle, "--tta", "--json").lines
    for each in row["top"]:
        assert each["probability"] == pytest.approx(sum(its[each["label"]] for its in plain) / 2, abs=0.02)
    assert plain[0] != plain[1]


@pytest.fixture(scope="module")
def few(garden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of each class, which Keras answers in little time."""
    root = tmp_path_factory.mktemp("few")
    for folder in garden.iterdir():
        (root / folder.name).mkdir()
        for file in sorted(folder.iterdir())[:3]:
            shutil.copy(file, root / folder.name)
    return root


@pytest.fixture(scope="module")
def mirrored(tlkit: Tlkit, trained: Trained, few: Path, tmp_path_factory: pytest.TempPathFactory) -> Mirrored:
    """A bundle for which mirroring is harmless, and what LiteRT says with --tta: of some images, and as figures."""
    flips: dict[str, object] = {"harmless": True, "images": 60, "plain": 0.9, "mirrored": 0.9}
    bundle = with_flips(trained.bundle, tmp_path_factory.mktemp("tta"), flips)
    rows = tlkit("predict", few / "birds", "--model", bundle, "--tta", "--json", "--engine", "litert").lines
    figures = tlkit("evaluate", few, "--model", bundle, "--tta", "--json", "--engine", "litert").json
    return bundle, rows, figures


@pytest.mark.parametrize("engine", ["keras", "auto"])
def test_tta_says_the_same_with_every_engine(tlkit: Tlkit, few: Path, mirrored: Mirrored, engine: str) -> None:
    bundle, rows, figures = mirrored
    ran = tlkit("predict", few / "birds", "--model", bundle, "--tta", "--json", "--engine", engine)
    assert ran.code == 0, ran.err
    assert [row["file"] for row in ran.lines] == [row["file"] for row in rows]
    for one, other in zip(ran.lines, rows, strict=True):
        ours, theirs = ({each["label"]: each["probability"] for each in row["top"]} for row in (one, other))
        assert ours == pytest.approx(theirs, abs=1e-4)
        assert one["unknown"] == other["unknown"]
    ran = tlkit("evaluate", few, "--model", bundle, "--tta", "--json", "--engine", engine)
    assert ran.code == 0, ran.err
    for name in ("accuracy", "log_loss", "macro_f1", "ece"):
        assert ran.json[name] == pytest.approx(figures[name], abs=1e-3)
    assert ran.json["confusion_matrix"] == figures["confusion_matrix"]


@pytest.mark.parametrize(
    ("flips", "said"),
    [
        (None, "has no such check"),
        ({"harmless": False, "images": 0, "plain": 0.0, "mirrored": 0.0}, "has no such check"),
        ({"harmless": False, "images": 60, "plain": 0.9, "mirrored": 0.5}, "mirroring changes the class"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_tta_is_refused_where_mirroring_is_not_known_to_be_harmless(
    tlkit: Tlkit,
    trained: Trained,
    garden: Path,
    tmp_path: Path,
    flips: dict[str, object] | None,
    said: str,
    command: str,
) -> None:
    ran = tlkit(command, garden, "--model", with_flips(trained.bundle, tmp_path, flips), "--tta")
    assert (ran.code, ran.out) == (2, "")
    assert "error: " in ran.err
    assert said in ran.err
