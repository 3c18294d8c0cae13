"""A usable bundle is there before the work that may improve it, and whatever becomes of that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tlkit
from tlkit.api.train import decide as deciding
from tlkit.api.train.run_dir import run_folder
from tlkit.errors import TlkitError
from tlkit.progress import SilentProgress

Make = Callable[..., Path]


class Notes(SilentProgress):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)

    def count(self, start: str) -> int:
        return sum(line.startswith(start) for line in self.lines)


@pytest.fixture
def images(make_folder: Make) -> Path:
    return make_folder({"a": 12, "b": 12})


@pytest.mark.parametrize("error", [KeyboardInterrupt, TlkitError("cannot go on")])
def test_what_ends_a_run_early_leaves_a_usable_bundle(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    def ends(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(deciding, "search_frozen", ends)
    show, target = Notes(), tmp_path / "m.tlkit"
    with pytest.raises((KeyboardInterrupt, TlkitError)):
        tlkit.train(images, image_size=32, output=target, progress=show)
    assert show.count("usable now: m.tlkit, accuracy ") == 1
    assert tlkit.load(target).manifest["strategy"] == "freeze"
    assert len(list(tlkit.predict([images / "a"], target))) == 12
    assert not run_folder(target).exists()


def test_the_bundle_is_replaced_by_the_network_chosen(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    show, target = Notes(), tmp_path / "m.tlkit"
    result = tlkit.train(images, image_size=32, strategy="freeze", output=target, progress=show)
    assert show.count("usable now") == 1
    manifest = tlkit.load(target).manifest
    assert (manifest["backbone"], manifest["metrics"]) == (result.plan.backbone, result.metrics)
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("images", "cache")] == ["m.tlkit"]
    assert result.reused == 0  # what the comparison computed is of this run


def test_without_anything_to_compare_it_is_saved_once(images: Path, tmp_path: Path) -> None:
    show = Notes()
    options = {"backbone": "efficientnet-lite0", "image_size": 32, "features": "last"}
    tlkit.train(images, strategy="freeze", output=tmp_path / "m.tlkit", progress=show, **options)
    assert show.count("usable now") == 0


def test_another_bundle_is_not_overwritten(images: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.tlkit"
    tlkit.train(images, strategy="freeze", image_size=32, output=target, report=False)
    before = (target / "tlkit.json").read_text()
    with pytest.raises(TlkitError, match="output exists"):
        tlkit.train(images, image_size=32, output=target)
    assert (target / "tlkit.json").read_text() == before


def test_before_tuning_the_best_frozen_network_is_saved(
    images: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed while weights are trained leaves it, and can be resumed."""

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    show, target = Notes(), tmp_path / "m.tlkit"
    with monkeypatch.context() as inner:
        inner.setattr("tlkit.api.train.tuning.tune", killed)
        with pytest.raises(KeyboardInterrupt):
            tlkit.train(images, strategy="last-layers", backbone=str(small), epochs=1, output=target, progress=show)
    assert tlkit.load(target).manifest["strategy"] == "freeze"
    assert run_folder(target).is_dir()
    assert show.count("to resume: tlkit train --resume") == 1
    assert tlkit.resume(target).tuning is not None
    assert not run_folder(target).exists()
