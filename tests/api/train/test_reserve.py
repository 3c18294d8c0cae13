"""Two runs never write one bundle, and what a killed run leaves goes away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran

from tlkit.api.train.options import TrainOptions
from tlkit.api.train.reserve import reserved, reserved_run
from tlkit.api.train.run_dir import begin_run
from tlkit.bundle.beside import lock_file, restore
from tlkit.errors import TlkitError
from tlkit.locks import locked

Patch = pytest.MonkeyPatch


def test_a_cache_that_cannot_be_written_is_said_once_and_the_work_goes_on(
    tlkit: Callable[..., Ran], garden: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "file" / "cache"))
    ran = tlkit("train", str(garden), "--strategy", "freeze", "--backbone", "efficientnet-lite0", "--features", "last",
                "--image-size", "64", "--no-refit", "-o", str(tmp_path / "m.tlkit"))  # fmt: skip
    assert ran.code == 0
    assert ran.err.count("cannot be kept") == 1
    assert "Traceback" not in ran.err


@pytest.fixture
def images(tmp_path: Path, monkeypatch: Patch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "cats").mkdir(parents=True)
    return tmp_path / "in" / "cats"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "in")


def test_the_next_run_takes_the_next_name(images: Path, tmp_path: Path) -> None:
    with reserved(images, None, False) as first, reserved(images, None, False) as second:
        assert (first.target.name, second.target.name) == ("cats.tlkit", "cats-2.tlkit")
    assert names(tmp_path) == []


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_name_that_is_asked_for_is_refused_while_a_run_writes_it(images: Path, overwrite: bool) -> None:
    with (
        reserved(images, "m.tlkit", False),
        pytest.raises(TlkitError, match=r"another run is writing .*m\.tlkit \(process \d+ on "),
        reserved(images, "m.tlkit", overwrite),
    ):
        pass


def test_a_run_that_is_alive_is_not_offered_to_resume(images: Path) -> None:
    with reserved(images, "m.tlkit", False) as place:
        begin_run(TrainOptions.make(images), None, place)
        with pytest.raises(TlkitError, match="another run is writing"), reserved(images, "m.tlkit", False):
            pass
        with pytest.raises(TlkitError, match="another run is writing"), reserved_run("m.tlkit-run"):
            pass
    with pytest.raises(TlkitError, match="there is an unfinished run"), reserved(images, "m.tlkit", False):
        pass
    with (
        reserved_run("m.tlkit-run"),
        pytest.raises(TlkitError, match="another run is writing"),
        reserved_run("m.tlkit-run"),
    ):
        pass


def test_the_next_run_sweeps_what_killed_ones_left_and_nothing_else(images: Path, tmp_path: Path) -> None:
    left = [".m.tlkit-new-abcdefgh", ".m.tlkit-old-abcdefgh", ".m.tlkit-run-abcdefgh", ".cats.tlkit-new-01234567"]
    for name in [*left, ".alive.tlkit-new-abcdefgh", ".mine", ".m.tlkit-new-photos-of-mine"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "m.tlkit").mkdir()
    for name in ("m", "cats"):
        lock_file(tmp_path / f"{name}.tlkit").touch()
    with locked(lock_file(tmp_path / "alive.tlkit")), reserved(images, None, False):
        pass
    assert names(tmp_path) == [".alive.tlkit-new-abcdefgh", ".m.tlkit-new-photos-of-mine", ".mine", "m.tlkit"]


def test_a_bundle_that_a_killed_run_was_replacing_is_put_back(tmp_path: Path) -> None:
    (tmp_path / ".m.tlkit-old-abcdefgh" / "bundle").mkdir(parents=True)
    with locked(lock_file(tmp_path / "m.tlkit")):
        restore(tmp_path)
        assert names(tmp_path) != ["m.tlkit"]
    restore(tmp_path, "other.tlkit")
    restore(tmp_path, "m.tlkit")
    assert names(tmp_path) == ["m.tlkit"]
