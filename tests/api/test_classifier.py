"""``tlkit.load``: the object that programs hold on to."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ran, Trained
from PIL import Image

import tlkit
from tlkit.backbones import engines
from tlkit.backbones.engines import LiteRTNetwork
from tlkit.bundle.load import Bundle
from tlkit.errors import TlkitError
from tlkit.images.read import read_image

Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def classifier(trained: Trained) -> tlkit.Classifier:
    return tlkit.load(trained.bundle)


@pytest.fixture(scope="module")
def photos(unseen: Path) -> list[Path]:
    return sorted(unseen.iterdir())


@pytest.fixture(scope="module")
def pixels(photos: list[Path]) -> Any:
    return np.stack([read_image(file, (224, 224)) for file in photos])


def test_it_answers_as_the_command_does(
    tlkit: Callable[..., Ran], classifier: Any, trained: Trained, photos: list[Path]
) -> None:
    """To the last bit: one at a time, all at once, from bytes, with others or alone."""
    rows = tlkit("predict", *photos, "-m", trained.bundle, "--json").lines
    assert [row.to_json() for row in classifier.predict(photos)] == rows
    assert [classifier.predict(file).to_json() for file in photos] == rows
    from_bytes = classifier.predict([file.read_bytes() for file in photos])
    assert [row.top for row in from_bytes] == [row.top for row in classifier.predict(photos)]
    best = classifier.predict_proba(photos).max(axis=1)
    assert [float(value) for value in best] == [row["probability"] for row in rows]


def test_what_it_says_of_itself(classifier: Any, trained: Trained) -> None:
    assert classifier.classes == ("birds", "flowers", "fruit", "vegetables")
    assert classifier.classes_.tolist() == list(classifier.classes)
    assert classifier.input_size == (224, 224)
    assert classifier.unknown == classifier.unknown_rate > 0
    assert classifier.metadata["backbone"] == "efficientnet-lite0"
    classifier.metadata["classes"].clear()  # a copy
    assert len(classifier.classes) == 4
    assert isinstance(classifier, tlkit.Bundle)
    assert tlkit.predict(trained.bundle / "none.png", classifier)[0].error == "no such file"


def test_one_row_an_image(classifier: Any, photos: list[Path], tmp_path: Path) -> None:
    with Image.open(photos[0]) as opened:
        many = [photos[0], str(photos[0]), opened, b"no image", tmp_path, tmp_path / "none.png"]
        rows = classifier.predict(iter(many))
    assert [row.label is not None for row in rows] == [True, True, True, False, False, False]
    assert [row.error for row in rows[3:]] == ["not an image", "a folder", "no such file"]
    assert classifier.predict([]) == []
    assert classifier.predict("[x]*.png").error == "no such file"  # a name, no pattern
    assert isinstance(classifier.predict(photos[0]), tlkit.Prediction)
    with pytest.raises(TlkitError, match="images cannot be of type int"):
        classifier.predict(3)
    with pytest.raises(TlkitError, match="unknown-rate"):
        classifier.predict(photos[0], unknown_rate=2)


def test_flags_are_those_of_predict(classifier: Any, trained: Trained, photos: list[Path]) -> None:
    expected = tlkit.predict(photos, trained.bundle, unknown_rate=0.5)
    assert classifier.predict(photos, unknown_rate=0.5) == expected
    assert [classifier.predict(file, unknown_rate=0.5) for file in photos] == expected
    assert {row.unknown for row in classifier.predict(photos, unknown_rate=0)} == {False}


def test_four_threads_share_one(classifier: Any, photos: list[Path], pixels: Any) -> None:
    """One interpreter, called from two threads, raises; 240 calls from four threads must all be right."""
    fresh = Bundle(classifier.path, classifier.manifest)
    expected, rows = classifier.probabilities(pixels), [classifier.predict(file) for file in photos]

    def work(number: int) -> bool:
        one, many = number % len(photos), slice(number % 3, number % 3 + 2)
        return (
            bool((fresh.probabilities(pixels[one : one + 1]) == expected[one]).all())
            and bool((fresh.probabilities(pixels[many]) == expected[many]).all())
            and classifier.predict(photos[one]) == rows[one]
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(80)))


def test_what_is_opened_is_opened_once(trained: Trained, photos: list[Path], monkeypatch: Patch) -> None:
    made: list[int] = []
    real = engines._Interpreter

    def counted(file: Any, threads: int, check: Any) -> Any:
        made.append(threads)
        return real(file, threads, check)

    monkeypatch.setattr(engines, "_Interpreter", counted)
    monkeypatch.setattr(engines, "cpu_count", lambda: 3)
    classifier = tlkit.load(trained.bundle)
    for _ in range(3):
        classifier.predict(photos[0])
    assert made == [3]  # a single image has all cores
    for _ in range(3):
        classifier.predict(photos)
        tlkit.predict(photos, classifier)
    assert len(made) <= 4
    assert set(made[1:]) == {1}


def test_a_pickle_is_a_path(trained: Trained, photos: list[Path], tmp_path: Path, monkeypatch: Patch) -> None:
    shutil.copytree(trained.bundle, tmp_path / "m.tlkit")
    monkeypatch.chdir(tmp_path)
    classifier = tlkit.load("m.tlkit")
    expected = classifier.predict(photos[0])
    data = pickle.dumps(classifier)
    assert len(data) < 300
    monkeypatch.chdir("/")
    there = pickle.loads(data)
    assert isinstance(there, tlkit.Classifier)
    assert there.predict(photos[0]) == expected
    assert pickle.loads(data) is there  # opened once, however often a task brings it
    (tmp_path / "m.tlkit").rename(tmp_path / "old")
    with pytest.raises(TlkitError, match="no such bundle"):
        pickle.loads(data)
    shutil.copytree(tmp_path / "old", tmp_path / "m.tlkit")
    (tmp_path / "m.tlkit" / "tlkit.json").touch()
    assert pickle.loads(data) is not there  # another bundle took its place
    assert type(pickle.loads(pickle.dumps(Bundle(classifier.path, classifier.manifest)))) is Bundle


PROGRAM = """
import os, sys, time, tlkit
classifier = tlkit.load(sys.argv[1])
files = sys.argv[2:]
before = [row.top for row in classifier.predict(files)], classifier.predict(files[0]).top
child = os.fork()
if child == 0:
    same = ([row.top for row in classifier.predict(files)], classifier.predict(files[0]).top) == before
    os._exit(0 if same else 3)
_, status = os.waitpid(child, 0)
heavy = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "h5py", "imagehash", "pywt"} & set(sys.modules)
print(os.waitstatus_to_exitcode(status), sorted(heavy))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_child_process_goes_on_and_nothing_heavy_is_imported(trained: Trained, photos: list[Path]) -> None:
    """The threads of the parent do not run in its child, which would wait for them for ever."""
    command = [sys.executable, "-c", PROGRAM, str(trained.bundle), *map(str, photos[:3])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "0 []\n", done.stderr


def test_batches_of_rows(classifier: Any, photos: list[Path], pixels: Any, tmp_path: Path) -> None:
    rows = classifier.predict(photos)
    batch = {"id": list(range(len(photos))), "image": [file.read_bytes() for file in photos]}
    found = classifier.predict_batch(batch)
    assert set(found) == {"id", "label", "probability", "unknown", "error"}
    assert found["label"].tolist() == [row.label for row in rows]
    assert found["probability"].dtype == np.float32
    assert found["probability"].tolist() == [row.probability for row in rows]
    assert found["unknown"].tolist() == [row.unknown for row in rows]
    assert found["error"].tolist() == [None] * len(rows)
    assert classifier.predict_batch({"image": pixels})["label"].tolist() == found["label"].tolist()
    paths = {"path": np.array([str(photos[0]), str(tmp_path / "none")])}
    found = classifier.predict_batch(paths)
    assert found["label"].tolist() == [rows[0].label, None]
    assert np.isnan(found["probability"][1])
    assert found["error"].tolist() == [None, "no such file"]
    assert classifier.predict_batch({"x": [photos[0]]}, column="x")["label"].tolist() == [rows[0].label]
    assert classifier.predict_batch({"image": []})["label"].shape == (0,)
    for wrong in ({"pixels": pixels}, {}):
        with pytest.raises(TlkitError, match="no column of images"):
            classifier.predict_batch(wrong)
    with pytest.raises(TlkitError, match=r"images\[0\] cannot be of type int"):
        classifier.predict_batch({"image": [3]})


def test_a_data_frame_is_a_batch(classifier: Any, photos: list[Path]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"path": list(map(str, photos)), "n": range(len(photos))})
    found = frame.assign(**classifier.predict_batch(frame))
    assert found["label"].tolist() == [row.label for row in classifier.predict(photos)]
    assert found.columns.tolist() == ["path", "n", "label", "probability", "unknown", "error"]


def test_probabilities_for_scikit_learn(classifier: Any, photos: list[Path], pixels: Any) -> None:
    found = classifier.predict_proba(photos)
    assert found.shape == (len(photos), 4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert classifier.predict_proba(photos[0]).shape == (1, 4)
    assert (classifier.predict_proba(pixels) == classifier.probabilities(pixels)).all()
    with pytest.raises(TlkitError, match=r"cannot read none\.png: no such file"):
        classifier.predict_proba([photos[0], "none.png"])


def test_a_bundle_that_is_replaced_meanwhile_is_said(trained: Trained, photos: list[Path], tmp_path: Path) -> None:
    """No answer comes from two networks."""
    shutil.copytree(trained.bundle, tmp_path / "m.tlkit")
    classifier = tlkit.load(tmp_path / "m.tlkit")
    expected = classifier.predict(photos[0])
    (tmp_path / "m.tlkit").rename(tmp_path / "old")
    shutil.copytree(trained.bundle, tmp_path / "m.tlkit")
    assert classifier.predict(photos[0]) == expected  # it has what it needs
    network = LiteRTNetwork(tmp_path / "m.tlkit" / "model.tflite", images=1)
    (tmp_path / "m.tlkit").rename(tmp_path / "older")
    with pytest.raises(TlkitError, match="was changed while it was in use"):
        network(np.zeros((2, 224, 224, 3), np.uint8))


@pytest.mark.parametrize("wrong", [3, b"m.tlkit", ["m.tlkit"]])
def test_a_bundle_is_named_by_a_path(wrong: Any) -> None:
    for open_it in (tlkit.load, lambda model: tlkit.predict("x.png", model)):
        with pytest.raises(TlkitError, match=f"a bundle cannot be of type {type(wrong).__name__}"):
            open_it(wrong)


def test_public_names_are_listed() -> None:
    assert {"load", "Classifier", "predict", "train", "__version__", *tlkit.__all__} <= set(dir(tlkit))
