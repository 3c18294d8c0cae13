"""Bundles that are replaced while they are served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Trained

from tlkit.errors import TlkitError


def replaced(bundle: Path, by: Path) -> None:
    """As ``train --overwrite`` does: beside it, then renamed."""
    bundle.rename(bundle.with_suffix(".old"))
    by.rename(bundle)
    shutil.rmtree(bundle.with_suffix(".old"))


def copied(trained: Trained, target: Path, strategy: str = "") -> Path:
    """A copy of the sample's bundle, or another one: its ``tlkit.json`` says something else."""
    shutil.copytree(trained.bundle, target)
    if strategy:
        from tlkit.bundle.save import MANIFEST, manifest_digest

        file = target / MANIFEST
        said = json.loads(file.read_text())
        said["metrics"]["val_accuracy"] = 0.25
        said["digest"] = manifest_digest(said)
        file.write_text(json.dumps(said))
    return target


@pytest.fixture
def models(trained: Trained, tmp_path: Path) -> Any:
    from tlkit.serve.models import Models

    return Models([copied(trained, tmp_path / "a.tlkit"), copied(trained, tmp_path / "b.tlkit")], 2)


def test_several_bundles_by_name(models: Any, start: Any, photos: list[Path], tmp_path: Path) -> None:
    one = start(models=models)
    data = photos[0].read_bytes()
    info = one.client.get("/info").json()
    assert [each["name"] for each in info["models"]] == ["a", "b"]
    assert info["default"] == "a"
    assert one.post("/predict?model=b", data).json() == one.post("/predict", data).json()
    recent = [each["recent"]["images"] for each in one.client.get("/info").json()["models"]]
    assert recent == [1, 1]
    for answer in (one.post("/predict?model=c", data), one.post("/hf?model=c", data)):
        assert answer.status_code == 404
        assert answer.json()["hint"] == "one of a, b"


def test_two_bundles_of_one_name_are_refused(trained: Trained, tmp_path: Path) -> None:
    from tlkit.serve.models import Models

    other = copied(trained, tmp_path / trained.bundle.name)
    with pytest.raises(TlkitError, match="two bundles are called garden"):
        Models([trained.bundle, other], 1)


def test_a_replaced_bundle_is_taken_and_the_others_stay(
    models: Any, trained: Trained, photos: list[Path], start: Any, tmp_path: Path
) -> None:
    from tlkit.images.given import GivenImage

    one = start(models=models)
    before, other = models.get("a"), models.get("b")
    assert models.reload() == []
    replaced(tmp_path / "a.tlkit", copied(trained, tmp_path / "new", strategy="another"))
    image = GivenImage("image", photos[0].read_bytes())
    # a request that began with the earlier one still gets its answer, drawing included
    row = before.predict(image, 5, True)
    assert row.explanation
    assert models.reload() == [("a", None)]
    assert models.get("a") is not before
    assert models.get("b") is other
    assert models.reload() == []
    assert before.predict(image, 5, True).row == models.get("a").predict(image, 5, False).row
    assert one.client.get("/info").json()["models"][0]["metrics"]["val_accuracy"] == 0.25


def test_a_copy_of_the_same_bundle_keeps_what_was_seen(models: Any, trained: Trained, tmp_path: Path) -> None:
    drift = models.get("a").drift
    replaced(tmp_path / "a.tlkit", copied(trained, tmp_path / "same"))
    assert models.reload() == [("a", None)]
    assert models.get("a").drift is drift


def test_a_damaged_bundle_is_not_taken(models: Any, trained: Trained, photos: list[Path], tmp_path: Path) -> None:
    from tlkit.images.given import GivenImage

    before = models.get("a")
    bad = copied(trained, tmp_path / "bad", strategy="x")
    (bad / "model.tflite").write_bytes(b"none")
    replaced(tmp_path / "a.tlkit", bad)
    ((name, error),) = models.reload()
    assert (name, isinstance(error, TlkitError)) == ("a", True)
    assert models.get("a") is before
    assert before.predict(GivenImage("image", photos[0].read_bytes()), 5, True).explanation
    assert models.reload(again=False) == []  # --watch does not say it every second
    assert len(models.reload()) == 1  # SIGHUP tries again
    shutil.rmtree(tmp_path / "a.tlkit")
    assert models.reload(again=False) == []  # being replaced
    assert models.get("a") is before
