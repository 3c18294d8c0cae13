"""``tlkit train`` on data with copies in two splits, imbalanced classes, and files that come and go."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import PLAIN_FREEZE, Ran, image

import tlkit as package
from tlkit.images import batches
from tlkit.progress import Advance, SilentProgress

pytestmark = pytest.mark.usefixtures("one_bundle")

Tlkit = Callable[..., Ran]
Make = Callable[..., Path]
FREEZE = PLAIN_FREEZE
PLAIN: dict[str, Any] = {"strategy": "freeze", "backbone": "efficientnet-lite0"}


@pytest.fixture
def leaky(make_folder: Make) -> Path:
    """train/a/1 lies in val/a too, byte for byte; train/b/2 lies in test/b, smaller and as a JPEG."""
    root = make_folder({"train/a": 7, "train/b": 7, "val/a": 3, "val/b": 3, "test/a": 2, "test/b": 2})
    (root / "val" / "a" / "same.png").write_bytes((root / "train" / "a" / "1.png").read_bytes())
    # seed and tint of the fixture's image, larger, so that little is lost
    image(1002, size=(160, 160), tint=(0, 90, 0)).save(root / "train" / "b" / "2.png")
    image(1002, size=(110, 110), tint=(0, 90, 0)).save(root / "test" / "b" / "smaller.jpg", quality=85)
    return root


LEAKS = [{"train/a/1.png", "val/a/same.png"}, {"train/b/2.png", "test/b/smaller.jpg"}]


def test_leaks_are_named_and_dropped_on_demand(tlkit: Tlkit, leaky: Path, tmp_path: Path) -> None:
    ran = tlkit("train", leaky, *FREEZE, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert sorted(map(sorted, ran.json["leaks"])) == sorted(map(sorted, LEAKS))
    assert ran.json["images"] == {"train": 14, "val": 7, "test": 5, "skipped": 0}
    (note,) = [line for line in ran.err.splitlines() if "copies in another split" in line]
    assert note.startswith("note: images with copies in another split: 2, such as ")
    assert note.endswith("accuracy may be inflated (see --drop-leaks)")

    dropped = tlkit("train", leaky, *FREEZE, "--json", "--drop-leaks", cwd=tmp_path)
    assert dropped.code == 0, dropped.err
    assert dropped.json["images"] == {"train": 12, "val": 7, "test": 5, "skipped": 0}
    assert sorted(map(sorted, dropped.json["leaks"])) == sorted(map(sorted, LEAKS))
    assert "2 training images left out" in dropped.err
    manifest = package.load(dropped.json["model"]).manifest
    assert list(manifest["split"].values()).count("train") == 12


class Watching(SilentProgress):
    """Gathers notes, and calls ``act`` when the phase that reads the images opens."""

    def __init__(self, act: Callable[[], object] = lambda: None) -> None:
        self.act = act
        self.notes: list[str] = []

    @contextmanager
    def phase(self, title: str, total: int | None) -> Iterator[Advance]:
        if title.startswith("Features"):
            self.act()
        yield lambda steps: None

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_copies_in_a_folder_without_splits_are_told_and_are_no_leaks(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 6, "b": 6})
    (root / "a" / "again.png").write_bytes((root / "a" / "1.png").read_bytes())
    show = Watching()
    result = package.train(root, **PLAIN, output=tmp_path / "m.tlkit", progress=show)
    assert result.leaks == ()
    assert [note for note in show.notes if "copies" in note] == [
        "images that have copies: 2; copies stay on one side of the split"
    ]


def test_imbalanced_classes_are_weighted_and_told(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 20, "b": 5})
    ran = tlkit("train", root, *FREEZE, "--class-weights", "auto", cwd=tmp_path)
    assert ran.code == 0, ran.err
    plan = json.loads((tmp_path / "images.tlkit" / "plan.json").read_text())
    assert "classes are weighted by inverse frequency" in " ".join(plan["reasons"])
    assert "class imbalance: balanced accuracy " in ran.out
    assert ", macro-F1 " in ran.out

    def reasons(folder: Path, weights: str) -> str:
        result = package.train(folder, **PLAIN, class_weights=weights, output=tmp_path / "m.tlkit", overwrite=True)
        assert 0 <= result.metrics["val_balanced_accuracy"] <= 1
        assert result.plan.class_weights == weights
        assert result.imbalanced is ("4.0 times" in " ".join(result.plan.reasons))
        return " ".join(result.plan.reasons)

    assert "classes are not weighted" in reasons(root, "none")
    assert "classes are not weighted" in reasons(make_folder({"a": 6, "b": 4}, name="even"), "auto")


def test_an_unknown_class_weight_is_refused(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    ran = tlkit("train", make_folder({"a": 4, "b": 4}), "--class-weights", "balanced", cwd=tmp_path)
    assert ran.code == 2
    assert ran.err.splitlines()[-2:] == ["error: unknown --class-weights 'balanced'", "hint: one of auto, none"]
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_image_deleted_after_the_scan_is_skipped_and_named(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 6, "b": 6})
    gone = root / "b" / "3.png"
    result = package.train(
        root, **PLAIN, output=tmp_path / "m.tlkit", progress=Watching(lambda: gone.unlink(missing_ok=True))
    )
    assert [file for file, _ in result.skipped] == ["b/3.png"]
    assert "no such file" in result.skipped[0][1]
    assert result.images["skipped"] == 1
    assert result.images["train"] + result.images["val"] == 11


def test_own_validation_images_that_all_vanish_are_not_said_to_be_used(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"train/a": 6, "train/b": 6, "val/a": 1, "val/b": 1})

    def empty() -> None:
        for file in (root / "val").rglob("*.png"):
            os.truncate(file, 20)

    result = package.train(root, **PLAIN, output=tmp_path / "m.tlkit", progress=Watching(empty))
    assert result.images == {"train": 10, "val": 2, "test": 0, "skipped": 2}
    assert any("drawn with seed 0" in reason for reason in result.plan.reasons)


def test_a_image_whose_reading_fails_once_is_used(
    make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"a": 5, "b": 5})
    shaky, real, failed = root / "a" / "2.png", batches._hashed, []

    def flaky(path: Path) -> bytes:
        if path == shaky and not failed:
            failed.append(path)
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(batches, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(batches, "_hashed", flaky)
    result = package.train(root, **PLAIN, output=tmp_path / "m.tlkit")
    assert failed
    assert result.skipped == ()
    assert result.images["train"] + result.images["val"] == 10
