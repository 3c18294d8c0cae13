"""Which images to label next: copies, unknown images, the verdict, and what is refused."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran, changed, draw_images

import tlkit as package
from tlkit.errors import TlkitError
from tlkit.linear import replay


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "REPEATS", 3)


@pytest.fixture
def unlabelled(base: Path, tmp_path: Path) -> Path:
    """Twelve new images, a copy of one of them, a labelled one and a file that is no image."""
    place = tmp_path / "unlabelled"
    draw_images(place, "x", range(300, 306), (90, 0, 0))
    draw_images(place, "y", range(400, 406), (0, 90, 0))
    shutil.copy(place / "x" / "300.png", place / "copy.png")
    shutil.copy(base / "old" / "a" / "0.png", place / "labelled.png")
    (place / "broken.png").write_text("no image")
    return place


def test_without_enough_labels_it_is_a_random_draw(base: Path, unlabelled: Path) -> None:
    found = package.suggest(unlabelled, base / "old.tlkit", n=5)
    assert (found.way, found.backtest, found.prediction) == ("random", None, None)
    assert "this is a random draw: whether another choice is better is not known" in found.verdict
    assert "and there are 24" in found.verdict
    assert (len(found.suggestions), found.images, found.known, found.copies) == (5, 12, 1, 1)
    assert [each.rank for each in found.suggestions] == [1, 2, 3, 4, 5]
    assert all(isinstance(each.unknown, bool) for each in found.suggestions)
    assert [Path(file).name for file, _ in found.skipped] == ["broken.png"]
    again = package.suggest(unlabelled, base / "old.tlkit", n=5)
    assert again.suggestions == found.suggestions


def test_the_way_that_won_is_taken(base: Path, unlabelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay.Replayed, "won", property(lambda its: its.way == "typical"))
    shutil.copytree(base / "old", unlabelled.parent / "all")
    shutil.copytree(base / "new", unlabelled.parent / "all", dirs_exist_ok=True)
    monkeypatch.setattr(replay.Backtest, "best", property(lambda its: next(e for e in its.ways if e.won)))
    found = package.suggest(unlabelled, base / "old.tlkit", n=50, labelled=unlabelled.parent / "all")
    assert found.way == "typical"
    assert found.labelled == 44
    assert "replayed on your 44 labelled images, it beat a random draw" in found.verdict
    assert len(found.suggestions) == 12
    assert found.prediction is not None
    assert found.prediction.startswith("50 more labels, drawn at random, are predicted to raise accuracy by ")


def test_the_command_writes_a_table(tlkit: Callable[..., Ran], base: Path, unlabelled: Path) -> None:
    where = unlabelled.parent
    words = ("suggest", unlabelled, "--model", base / "old.tlkit", "-n", 3, "--by", "margin", "-o", where / "s.csv")
    ran = tlkit(*words)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("whether margin beats a random draw is not known")
    assert "3 of 12 unlabelled images; left out: 1 that have a label already, 1 copy of others" in ran.out
    rows = list(csv.DictReader((where / "s.csv").read_text().splitlines()))
    assert list(rows[0]) == ["rank", "file", "why", "label", "probability", "unknown"]
    assert rows[0]["why"].startswith("unsure: ")
    probabilities = [float(row["probability"]) for row in rows]
    assert probabilities == sorted(probabilities)
    ran = tlkit(*words)
    assert ran.code == 2
    assert "s.csv" in ran.err
    ran = tlkit("suggest", unlabelled, "--model", base / "old.tlkit", "--json", "-n", 2)
    assert set(ran.json) >= {"model", "way", "verdict", "suggestions", "backtest", "skipped"}
    assert len(ran.json["suggestions"]) == 2


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n": 0}, "-n must be at least 1, not 0"),
    ({"n": 2.5}, "-n must be at least 1, not 2.5"),
    ({"by": "luck"}, "unknown --by 'luck'"),
    ({"images": "missing"}, "no readable image among 1 file"),
    ({"images": b"bytes"}, "images in memory cannot be suggested"),
    ({"labelled": "missing"}, "no such folder: missing"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_does_not_fit_is_refused(base: Path, unlabelled: Path, options: dict[str, Any], message: str) -> None:
    given = {"images": unlabelled, "model": base / "old.tlkit", **options}
    with pytest.raises(TlkitError) as caught:
        package.suggest(given.pop("images"), **given)
    assert caught.value.message == message


def test_a_bundle_without_features_needs_labelled_images(base: Path, unlabelled: Path, tmp_path: Path) -> None:
    plain = changed(base / "old.tlkit", tmp_path / "plain.tlkit")
    import json

    files = json.loads((plain / "tlkit.json").read_text())["files"]
    del files["features.npz"]
    plain = changed(plain, tmp_path / "plainer.tlkit", files=files)
    with pytest.raises(TlkitError, match="suggest without --labelled requires a bundle with the features") as caught:
        package.suggest(unlabelled, plain)
    assert caught.value.hint == "train it once more with --keep-features"
    with pytest.raises(TlkitError, match="no image is left to suggest"):
        package.suggest(base / "old", base / "old.tlkit")
