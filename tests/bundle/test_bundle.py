from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tlkit.bundle.load import load, newest_bundle
from tlkit.bundle.manifest import Manifest
from tlkit.bundle.save import choose_output, manifest_digest, save_bundle
from tlkit.errors import TlkitError

MANIFEST = Manifest(
    keras="3.12",
    backbone="efficientnet-lite0",
    own_backbone=None,
    weights="imagenet",
    weights_sha256="",
    strategy="freeze",
    boundary=None,
    input_size=(8, 8),
    reading=1,
    classes=("a", "b\nc"),
    metrics={},
    split={},
    layers={},
)


def write(place: Path, content: bytes = b"network") -> Manifest:
    (place / "model.keras").write_bytes(content)
    return MANIFEST


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "m.tlkit", **options: Any) -> Path:
        parts = {"write": write, "plan": {}, "history": [{"step": 1}], **options}
        return save_bundle(tmp_path / name, **parts)

    return make


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_has_all_its_files_and_loads(make_bundle: Callable[..., Path]) -> None:
    bundle = make_bundle()
    assert names(bundle) == ["history.csv", "labels.txt", "model.keras", "plan.json", "tlkit.json"]
    assert (bundle / "labels.txt").read_text() == "a\nb c\n"
    loaded = load(bundle)
    assert loaded.classes == ("a", "b\nc")
    assert loaded.input_size == (8, 8)
    assert loaded.manifest["format"] == 1
    assert names(bundle.parent) == ["m.tlkit"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), ValueError])
def test_a_failed_save_leaves_nothing(make_bundle: Callable[..., Path], tmp_path: Path, error: Any) -> None:
    def fails(place: Path) -> None:
        (place / "model.keras").write_bytes(b"half")
        raise error

    expected = TlkitError if isinstance(error, OSError) else error
    with pytest.raises(expected):
        make_bundle(write=fails)
    assert names(tmp_path) == []


def test_overwrite_replaces_whole_and_keeps_the_old_one_if_it_fails(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    make_bundle()
    make_bundle(overwrite=True, write=lambda place: replace(write(place), classes=("x", "y")))
    assert load(tmp_path / "m.tlkit").classes == ("x", "y")

    def fails(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_bundle(overwrite=True, write=fails)
    assert load(tmp_path / "m.tlkit").classes == ("x", "y")
    assert names(tmp_path) == ["m.tlkit"]


def test_a_place_taken_meanwhile_is_not_overwritten(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    def slow(path: Path) -> Manifest:
        (tmp_path / "m.tlkit").mkdir()
        (tmp_path / "m.tlkit" / "theirs").write_text("x")
        return write(path)

    assert make_bundle(write=slow) == tmp_path / "m-2.tlkit"
    assert load(tmp_path / "m-2.tlkit").classes
    assert names(tmp_path / "m.tlkit") == ["theirs"]
    assert names(tmp_path) == ["m-2.tlkit", "m.tlkit"]


def refusal(bundle: Path) -> str:
    with pytest.raises(TlkitError) as caught:
        load(bundle)
    return f"{caught.value.message} | {caught.value.hint}"


@pytest.mark.parametrize("name", ["model.keras", "labels.txt", "plan.json", "history.csv"])
def test_missing_and_changed_files_are_named(make_bundle: Callable[..., Path], name: str) -> None:
    bundle = make_bundle()
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content + b" ")
    assert f"{name} was changed" in refusal(bundle)
    (bundle / name).unlink()
    assert f"{name} is missing" in refusal(bundle)
    (bundle / name).write_bytes(content)
    load(bundle)


def edit(bundle: Path, change: Callable[[dict[str, Any]], None], sign: bool = False) -> None:
    manifest = json.loads((bundle / "tlkit.json").read_text())
    change(manifest)
    if sign:
        manifest["digest"] = manifest_digest(manifest)
    (bundle / "tlkit.json").write_text(json.dumps(manifest))


def test_a_changed_manifest_is_noticed(make_bundle: Callable[..., Path]) -> None:
    bundle = make_bundle()
    edit(bundle, lambda manifest: manifest["classes"].reverse())
    assert "tlkit.json was changed" in refusal(bundle)
    for text in ("", "[]", "{", "\xff"):
        (bundle / "tlkit.json").write_text(text, encoding="latin-1")
        assert "tlkit.json is not" in refusal(bundle)
    (bundle / "tlkit.json").write_text("{}")
    assert "not a tlkit bundle" in refusal(bundle)
    (bundle / "tlkit.json").unlink()
    assert "not a tlkit bundle" in refusal(bundle)


def test_a_newer_format_asks_for_an_upgrade(make_bundle: Callable[..., Path]) -> None:
    bundle = make_bundle()
    edit(bundle, lambda manifest: manifest.update(format=2), sign=True)
    assert "newer than this tlkit" in refusal(bundle)
    assert "upgrade" in refusal(bundle)


def test_a_manifest_cannot_leave_the_model_out(make_bundle: Callable[..., Path]) -> None:
    bundle = make_bundle()
    edit(bundle, lambda manifest: manifest["files"].pop("model.keras"), sign=True)
    assert "does not list model.keras" in refusal(bundle)


def test_no_such_bundle(tmp_path: Path) -> None:
    assert "no such bundle" in refusal(tmp_path / "none.tlkit")
    (tmp_path / "file.tlkit").write_text("x")
    assert "not a tlkit bundle" in refusal(tmp_path / "file.tlkit")


def test_the_newest_bundle_is_the_default(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    import os

    with pytest.raises(TlkitError, match=r"no \.tlkit bundle"):
        newest_bundle(tmp_path)
    for age, name in enumerate(["b.tlkit", "a.tlkit", "c.tlkit"]):
        os.utime(make_bundle(name) / "tlkit.json", (1e9 - age, 1e9 - age))
    (tmp_path / "empty.tlkit").mkdir()
    assert newest_bundle(tmp_path).name == "b.tlkit"


def test_default_names_count_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_bundle: Any) -> None:
    (tmp_path / "cats").mkdir()
    monkeypatch.chdir(tmp_path)
    assert choose_output(tmp_path / "cats", None, False) == tmp_path / "cats.tlkit"
    make_bundle("cats.tlkit")
    assert choose_output(tmp_path / "cats", None, False) == tmp_path / "cats-2.tlkit"
    (tmp_path / "cats-2.tlkit").write_text("a file")
    assert choose_output(tmp_path / "cats", None, False) == tmp_path / "cats-3.tlkit"
    assert choose_output(tmp_path / "cats", None, True) == tmp_path / "cats.tlkit"


def test_places_that_cannot_be_used(tmp_path: Path, make_bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "cats"
    images.mkdir()
    (tmp_path / "linked").symlink_to(images)
    (tmp_path / "precious").mkdir()
    (tmp_path / "file").write_text("x")
    make_bundle("old.tlkit")

    def refused(output: Path | None, overwrite: bool = False) -> str:
        before = names(tmp_path)
        with pytest.raises(TlkitError) as caught:
            choose_output(images, output, overwrite)
        assert names(tmp_path) == before
        return caught.value.message

    assert "output exists" in refused(tmp_path / "old.tlkit")
    assert choose_output(images, tmp_path / "old.tlkit", True) == tmp_path / "old.tlkit"
    assert "output exists" in refused(tmp_path / "precious")
    assert "not overwritten" in refused(tmp_path / "precious", overwrite=True)
    assert "not overwritten" in refused(tmp_path / "file", overwrite=True)
    assert "inside the image folder" in refused(images / "m.tlkit")
    assert "inside the image folder" in refused(tmp_path / "linked" / "m.tlkit")
    assert "no such folder" in refused(tmp_path / "nowhere" / "m.tlkit")
    assert "no such folder" in refused(tmp_path / "file" / "m.tlkit")
    monkeypatch.chdir(images)
    assert "inside the image folder" in refused(None)


def test_an_unwritable_place_is_noticed_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tlkit.bundle.beside.tempfile.mkdtemp", denied)
    with pytest.raises(TlkitError, match="cannot write to"):
        choose_output(tmp_path / "cats", tmp_path / "m.tlkit", False)


def test_a_moved_bundle_loads(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    elsewhere = tmp_path / "far away" / "ż.tlkit"
    elsewhere.parent.mkdir()
    shutil.move(make_bundle(), elsewhere)
    assert load(elsewhere).classes == ("a", "b\nc")
