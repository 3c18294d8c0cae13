"""Images added to a bundle: the same as a training on all of them, without the old ones."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import ADDED, Ran, changed, examples
from hypothesis import given, settings
from hypothesis import strategies as st

import tlkit
from tlkit.api.train import run as training
from tlkit.api.train.added import Added, join
from tlkit.backbones.features import Features
from tlkit.bundle.kept import Kept, kept_from_arrays, read_kept
from tlkit.bundle.load import load
from tlkit.errors import TlkitError
from tlkit.images.folder import ImageFolder
from tlkit.plan.renames import read_renames

pytestmark = pytest.mark.usefixtures("one_bundle")

Make = Callable[..., Path]


def add(base: Path, target: Path, images: Path | None = None, **options: Any) -> tlkit.TrainResult:
    return tlkit.train(
        images or base / "new", from_bundle=base / "old.tlkit", add=True, output=target, report=False, **options
    )


def head_of(bundle: Path) -> list[np.ndarray]:
    with zipfile.ZipFile(bundle / "model.keras") as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
        return [np.asarray(file[f"layers/dense/vars/{number}"]) for number in range(2)]


def manifest_of(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "tlkit.json").read_text()))


def test_it_is_the_head_of_a_training_on_all_images(
    tlkit: Callable[..., Ran], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(base / "old", tmp_path / "all")
    shutil.copytree(base / "new", tmp_path / "all", dirs_exist_ok=True)
    shutil.copytree(base / "old.tlkit", tmp_path / "old.tlkit")  # without the old images beside it
    shutil.copytree(base / "new", tmp_path / "new")
    ran = tlkit("train", "new", "--from", "old.tlkit", "--add", "--no-report", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "20 new images and 24 kept images of old.tlkit" in ran.err
    assert ran.json["model"] == str(tmp_path / "old-2.tlkit")
    split, start = manifest_of(base / "old.tlkit")["split"], training.prepare_start
    monkeypatch.setattr(training, "prepare_start", lambda *its: replace(start(*its), earlier_split=split))
    whole = training.train(tmp_path / "all", output=tmp_path / "whole.tlkit", features="last", **ADDED)
    assert ran.json["images"] == whole.images
    assert ran.json["refit"]["images"] == 24 + 12 + 8
    for ours, theirs in zip(head_of(tmp_path / "old-2.tlkit"), head_of(whole.model), strict=True):
        assert np.array_equal(ours, theirs)
    mine, its = manifest_of(tmp_path / "old-2.tlkit"), manifest_of(whole.model)
    for name in ("classes", "metrics", "split", "calibration", "unknown", "layers", "weights_sha256", "refit"):
        assert mine[name] == its[name], name
    assert split.items() <= mine["split"].items()
    with np.load(tmp_path / "old-2.tlkit" / "known.npz") as ours, np.load(whole.model / "known.npz") as theirs:
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs.files)
    kept = read_kept(load(tmp_path / "old-2.tlkit"), "--add")  # so that more can be added
    assert list(kept.names[:3]) == ["a/0.png", "a/1.png", "a/2.png"]
    assert len(kept) == 44


def kept_of(base: Path) -> Kept:
    return read_kept(load(base / "old.tlkit"), "--add")


def joined(kept: Kept, files: dict[str, str], renames: dict[str, str] | None = None) -> Added:
    """Kept images and new files, given by path and content hash, whose folder is their class."""
    classes = tuple(sorted({name.split("/")[0] for name in files}))
    labels = tuple(classes.index(name.split("/")[0]) for name in files)
    folder = ImageFolder(Path("/new"), classes, tuple(files), labels, ("",) * len(files))
    matrix = np.ones((len(files), kept.matrix.shape[1]), dtype=np.float32)
    every = tuple(range(len(files)))
    features = Features(matrix, every, tuple(files.values()), (b"",) * len(files), {}, kept.taps, 0)
    return join(kept, ("a", "b"), "old.tlkit", folder, features, renames or {})


def test_images_are_in_the_order_of_one_folder(base: Path) -> None:
    found = joined(kept_of(base), {"a/3.png": "1" * 64, "a/x/1.png": "2" * 64, "A0/1.png": "3" * 64})
    names = [file.removeprefix("old.tlkit/") for file in found.folder.files]
    assert names[:4] == ["a/0.png", "a/2.png", "a/3.png", "a/4.png"]
    assert names.index("a/x/1.png") == names.index("A0/1.png") - 1 == names.index("b/100.png") - 2
    assert found.folder.files[0] == "old.tlkit/a/0.png"
    assert found.new == 3


def test_what_the_bundle_has_is_not_added_twice(base: Path) -> None:
    kept = kept_of(base)
    found = joined(kept, dict(zip(kept.names, kept.contents, strict=True)))
    assert (found.new, found.known, found.changed) == (0, 24, 0)
    assert np.array_equal(found.features.matrix, kept.matrix.astype(np.float32))


def test_a_file_in_another_folder_has_another_class_now(base: Path) -> None:
    kept = kept_of(base)
    found = joined(kept, {"b/copy.png": kept.contents[0]})
    assert (found.new, found.known, found.changed) == (0, 0, 1)
    assert found.folder.labels[0] == 1
    both = joined(kept, {"b/copy.png": kept.contents[0], "c/copy.png": kept.contents[0]})
    assert (both.new, both.changed) == (2, 0)  # they contradict each other, which training then says


def test_classes_are_renamed_and_merged(base: Path, tmp_path: Path) -> None:
    kept, new = kept_of(base), {"c/1.png": "1" * 64}
    (tmp_path / "map.csv").write_text("old,new\na,red\nc,b\n")
    (tmp_path / "map.json").write_text('{"a": "red", "c": "b"}')
    for value in ("a=red,c=b", str(tmp_path / "map.csv"), str(tmp_path / "map.json")):
        found = joined(kept, new, read_renames(value))
        assert found.folder.classes == ("b", "red")
        assert list(found.folder.counts().values()) == [13, 12]
    assert joined(kept, new, read_renames("a=b,b=a")).folder.labels[0] == 1


@settings(max_examples=examples(0.5))
@given(data=st.data())
def test_kept_images_of_a_stranger_are_refused_or_sound(base: Path, data: st.DataObject) -> None:
    kept = kept_of(base)
    arrays = kept.arrays()
    name = data.draw(st.sampled_from(sorted(arrays)))
    array = arrays[name].copy()
    change = data.draw(st.sampled_from(["cut", "type", "value", "shape"]))
    if change == "cut":
        array = array[:-1]
    elif change == "type":
        array = array.astype(np.float64)
    elif change == "shape":
        array = array[None]
    else:
        place = data.draw(st.integers(0, array.size - 1))
        value = data.draw(st.sampled_from([0, 1, 46, 127, 255])) if array.dtype == np.uint8 else np.inf
        array.ravel()[place] = value if array.dtype.kind != "i" else 7
    try:
        found = kept_from_arrays(arrays | {name: array}, 2)
    except ValueError:
        return
    assert change == "value" or name == "names"
    assert len(found) == len(kept) == len(found.names) == len(found.matrix)
    assert set(found.labels) <= {0, 1}


def test_the_head_of_a_tuned_network_alone_is_solved_again(
    small: Path, make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlkit.api.train.trained.better", lambda ours, frozen, images: True)
    options: dict[str, Any] = {"backbone": str(small), "epochs": 1, "batch_size": 8, "augment": "none"}
    tlkit.train(
        make_folder({"a": 12, "b": 12}),
        strategy="last-layers",
        output=tmp_path / "old.tlkit",
        keep_features=True,
        report=False,
        **options,
    )
    make_folder({"c": 8}, name="new")
    found = add(tmp_path, tmp_path / "m.tlkit")
    assert found.classes == ("a", "b", "c")
    assert found.refit == ()
    assert "the weights that last-layers trained are kept" in found.plan.reasons[0]
    old, new = tlkit.load(tmp_path / "old.tlkit").model, tlkit.load(found.model).model
    names = [layer.name for layer in old.layers if layer.get_weights() and layer.name != "logits"]
    assert names
    for name in names:
        for one, two in zip(old.get_layer(name).get_weights(), new.get_layer(name).get_weights(), strict=True):
            assert np.array_equal(one, two)


REFUSED = [
    ((), {"from_bundle": None}, "--add requires --from"),
    ((), {"add": False, "rename": "a=b"}, "--rename requires --add"),
    ((), {"strategy": "freeze"}, "--strategy does not apply to --add"),
    ((), {"image_size": 64}, "--image-size does not apply to --add"),
    ((), {"epochs": 3}, "--epochs does not apply to --add"),
    ((), {"rename": "a"}, "--rename cannot be understood: 'a'"),
    ((), {"rename": "zebra=b"}, "unknown class in --rename: 'zebra'"),
    ((), {"rename": "a=b,a=c"}, "--rename gives 'a' two names: b, c"),
    ((), {"rename": "missing.csv"}, "cannot read"),
    ((), {"rename": "a=b,c=b"}, "only one class ('b') is left"),
]


@pytest.mark.parametrize(("_", "options", "message"), REFUSED)
def test_what_does_not_fit_is_refused(
    base: Path, tmp_path: Path, _: object, options: dict[str, Any], message: str
) -> None:
    words = {"from_bundle": base / "old.tlkit", "add": True, "output": tmp_path / "m.tlkit", **options}
    with pytest.raises(TlkitError) as caught:
        tlkit.train(base / "new", **words)
    assert caught.value.message.startswith(message) or message in caught.value.message
    assert caught.value.hint or message == "cannot read"
    assert not (tmp_path / "m.tlkit").exists()


def test_a_bundle_without_features_says_how_to_get_them(tlkit: Callable[..., Ran], base: Path, tmp_path: Path) -> None:
    plain = changed(base / "old.tlkit", tmp_path / "plain.tlkit")
    files = {name: its for name, its in manifest_of(plain)["files"].items() if name != "features.npz"}
    plain = changed(plain, tmp_path / "plainer.tlkit", files=files)
    ran = tlkit("train", base / "new", "--from", plain, "--add", cwd=tmp_path)
    assert ran.code == 2
    assert ran.err.splitlines()[-2:] == [
        f"error: --add requires a bundle with the features of its images, and {plain} has none",
        "hint: train it once more with --keep-features",
    ]
