"""Predictions in files, for long jobs; thresholds, counts and more classes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran, Trained

import tlkit as api
from tlkit.api import predict_file as module
from tlkit.errors import TlkitError

Tlkit = Callable[..., Ran]


def test_the_file_says_what_stdout_says(tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path) -> None:
    common = ("predict", photos, "--model", trained.bundle)
    shown = tlkit(*common, "--format", "csv")
    ran = tlkit(*common, "--output", tmp_path / "rows.csv")
    assert ran.code == 0, ran.err
    assert (tmp_path / "rows.csv").read_text() == shown.out
    counted = shown.err.splitlines()[-1].removeprefix("note: ")
    assert ran.out.splitlines()[0] == counted
    assert counted.endswith("1 unreadable")
    lines = tlkit(*common, "--json")
    found = tlkit(*common, "--json", "--output", tmp_path / "rows.jsonl").json
    assert (tmp_path / "rows.jsonl").read_text() == lines.out
    assert found["images"] == found["labelled"] + found["unknown"] + found["unreadable"] == len(lines.lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "rows.csv", "rows.jsonl"]


def test_parquet_has_the_same_rows(trained: Trained, photos: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    (photos / "caf\udce9.png").write_bytes((photos / "birds-magpie.png").read_bytes())
    api.predict_file(photos, tmp_path / "rows.parquet", trained.bundle, top=2, threshold=0.9)
    rows = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    for row, expected in zip(rows, api.predict(photos, trained.bundle, top=2, threshold=0.9), strict=True):
        assert (row["label"], row["unknown"], row["review"]) == (expected.label, expected.unknown, expected.review)
        assert row["probability"] == pytest.approx(expected.probability)
        assert [each["label"] for each in row["top"]] == [label for label, _ in expected.top]
    assert rows[-1]["file"].endswith("caf\\udce9.png") or any(row["file"].endswith("caf\\udce9.png") for row in rows)


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> list[int]:
    """Let a run be interrupted after some images; return a list that gets the number of images of every run."""
    computed: list[int] = []
    real = module.rows_of

    def rows(found: Any, *rest: Any) -> Iterator[Any]:
        computed.append(len(found))
        for number, row in enumerate(real(found, *rest)):
            if number == after and len(computed) == 1:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(module, "rows_of", rows)
    return computed


def test_an_interrupted_run_is_resumed(
    tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole.csv"
    command = ("predict", photos, "--model", trained.bundle, "--output")
    assert tlkit(*command, whole).code == 0
    computed = interrupt(monkeypatch, 5)
    ran = tlkit(*command, tmp_path / "rows.csv")
    assert (ran.code, ran.out) == (130, "")
    assert "5 of 9 images done; to go on, run it again with --resume" in ran.err
    assert not (tmp_path / "rows.csv").exists()
    refused = tlkit(*command, tmp_path / "rows.csv")
    assert refused.code == 2
    assert "an unfinished run of" in refused.err
    other = tlkit(*command, tmp_path / "rows.csv", "--resume", "--threshold", 0.5)
    assert other.code == 2
    assert "differs in --threshold" in other.err
    with (tmp_path / "rows.csv-run" / "spare" / "rows.jsonl").open("a") as file:
        file.write('{"row": {"file": "cut o')  # a power cut
    found = tlkit(*command, tmp_path / "rows.csv", "--resume")
    assert found.code == 0, found.err
    assert "5 of them in an earlier run" in found.out
    assert computed == [9, 4]
    assert (tmp_path / "rows.csv").read_bytes() == whole.read_bytes()
    assert not (tmp_path / "rows.csv-run").exists()


def test_images_that_changed_since_are_labelled_again(
    trained: Trained, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = interrupt(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        api.predict_file(photos, tmp_path / "rows.csv", trained.bundle)
    third = sorted(photos.iterdir())[2]
    third.write_bytes(sorted(photos.iterdir())[7].read_bytes())
    found = api.predict_file(str(photos), str(tmp_path / "rows.csv"), str(trained.bundle), resume=True)
    assert found.reused == 2
    assert computed == [9, 7]
    rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
    assert [row["label"] for row in rows] == [row.label or "" for row in api.predict(photos, trained.bundle)]


def test_nothing_is_left_if_nothing_was_done(
    trained: Trained, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        api.predict_file(photos, tmp_path / "rows.csv", trained.bundle)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_the_threshold_marks_images_for_review(tlkit: Tlkit, trained: Trained, photos: Path) -> None:
    common = ("predict", photos, "--model", trained.bundle)
    rows = tlkit(*common, "--json", "--threshold", 0.9, "--unknown-rate", 0).lines
    assert {row["review"] for row in rows if row["error"] is None} <= {True, False}
    for row in rows:
        if row["error"] is None:
            assert row["review"] == (row["probability"] < 0.9)
        else:
            assert "review" not in row
    some = sum(bool(row.get("review")) for row in rows)
    ran = tlkit(*common, "--threshold", 0.9, "--unknown-rate", 0, "--format", "csv")
    assert [row["review"] for row in csv.DictReader(io.StringIO(ran.out))].count("true") == some
    assert "review" not in tlkit(*common, "--format", "csv").out.splitlines()[0]
    strict = tlkit(*common, "--format", "table", "--threshold", 1, "--unknown-rate", 0)
    assert "  review   " in strict.out
    assert "to review" in strict.err


def test_more_classes(tlkit: Tlkit, trained: Trained, photos: Path) -> None:
    common = ("predict", photos / "birds-magpie.png", "--model", trained.bundle)
    (row,) = tlkit(*common, "--json", "--top", 3).lines
    assert len(row["top"]) == 3
    (cells,) = csv.DictReader(io.StringIO(tlkit(*common, "--format", "csv", "--top", 99).out))
    assert [cells["label"], cells["label_2"], cells["label_3"]] == [each["label"] for each in row["top"]]
    assert float(cells["probability_3"]) == pytest.approx(row["top"][2]["probability"], abs=1e-6)
    assert cells["label_99"] == ""
    (one,) = tlkit(*common, "--json", "--top", 1).lines
    assert [each["label"] for each in one["top"]] == [row["label"]]
    table = tlkit(*common, "--format", "table", "--top", 3).out.splitlines()[1]
    assert all(each["label"] in table for each in row["top"])


def test_strict(tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path) -> None:
    common = ("predict", photos, "--model", trained.bundle)
    assert tlkit(*common, "--format", "csv").code == 0
    assert tlkit(*common, "--format", "csv", "--strict").code == 2
    assert tlkit(*common, "--output", tmp_path / "a.csv", "--strict").code == 2
    (photos / "broken.jpg").unlink()
    assert tlkit(*common, "--format", "csv", "--strict").code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "rows.xlsx"], "--output must end in .csv, .jsonl, .parquet, not 'rows.xlsx'"),
        (["--output", "photos/rows.csv"], "--output is inside the image folder"),
        (["--output", "none/rows.csv"], "no such folder"),
        (["--output", "rows.csv", "--format", "csv"], "--format does not apply to --output"),
        (["--resume"], "--resume requires --output"),
        (["--threshold", 1.5], "--threshold must be at least 0 and at most 1"),
        (["--threshold", "nan"], "--threshold must be at least 0 and at most 1"),
        (["--top", 0], "'--top'"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(
    tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path, options: list[object], said: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    ran = tlkit("predict", "photos", "--model", trained.bundle, *options, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert said in ran.err
    assert sorted(tmp_path.rglob("*")) == before


def test_images_in_memory_have_rows_too(trained: Trained, photos: Path, tmp_path: Path) -> None:
    data = (photos / "birds-magpie.png").read_bytes()
    found = api.predict_file([data, photos / "broken.jpg"], tmp_path / "rows.jsonl", trained.bundle)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == ["images[0]", str(photos / "broken.jpg")]
    assert found.counts.unreadable == 1
    with pytest.raises(TlkitError, match="output exists"):
        api.predict_file(data, tmp_path / "rows.jsonl", trained.bundle)
