"""All JSON that tlkit writes is JSON: a network may give what is no number, and no reader takes NaN."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Trained

import tlkit
from tlkit.api.train import tuning
from tlkit.backbones.extractor import Extractor
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.manifest import Manifest
from tlkit.bundle.save import save_bundle
from tlkit.cli.app import run
from tlkit.jsontext import json_text

SMALL = ("--backbone", "efficientnet-lite0", "--image-size", "64")

NOT_FINITE = "the network returned no finite probabilities"


def strict(text: str) -> Any:
    def refused(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refused)


def test_what_is_not_finite_becomes_null() -> None:
    data = {"a": [1.5, math.nan, (math.inf, {"b": -math.inf})], "c": None, math.nan: "d", "e": 2}
    assert strict(json_text(data)) == {"a": [1.5, None, [None, {"b": None}]], "c": None, "nan": "d", "e": 2}
    assert json_text({"a": [1.5]}) == '{"a": [1.5]}'
    assert json_text({"a": math.nan}, indent=1) == '{\n "a": null\n}'


def test_every_command_writes_its_json_in_the_one_place() -> None:
    for file in (ROOT / "tlkit" / "cli").glob("*.py"):
        assert "json.dump" not in file.read_text(encoding="utf-8"), file


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], bool]], None]:
    """``broken(which)``: what networks give for those images of a batch is no number."""

    def spoil(which: Callable[[int], bool]) -> None:
        def spoiled(real: Any) -> Any:
            def forward(self: Any, *arguments: Any, **options: Any) -> Any:
                compute = real(self, *arguments, **options)
                seen = iter(range(10_000))

                def run_spoiled(pixels: Any) -> Any:
                    found = np.array(compute(pixels))
                    found[[which(next(seen)) for _ in range(len(found))]] = np.nan
                    return found

                return run_spoiled

            return forward

        monkeypatch.setattr(Bundle, "forward", spoiled(Bundle.forward))
        monkeypatch.setattr(Extractor, "forward", spoiled(Extractor.forward))

    return spoil


def test_a_network_that_gives_no_number_for_an_image(
    trained: Trained, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, broken: Any
) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    broken(lambda number: number % 3 == 1)
    model, images = ["--model", str(trained.bundle)], str(garden / "birds")
    assert run(["predict", images, *model, "--json"]) == 0
    rows = [strict(line) for line in capfd.readouterr().out.splitlines()]
    lost = [row for row in rows if row["label"] is None]
    assert len(lost) == len(range(1, len(rows), 3))
    for row in lost:
        assert (row["probability"], row["top"], row["unknown"], row["error"]) == (None, [], None, NOT_FINITE)
    assert run(["predict", images, *model, "--format", "csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert [row["error"] for row in table] == [row["error"] or "" for row in rows]
    assert run(["evaluate", str(garden), *model, "--json"]) == 0
    figures = strict(capfd.readouterr().out)
    assert figures["skipped"]
    assert {row["error"] for row in figures["skipped"]} == {NOT_FINITE}
    assert run(["embed", images, "-o", str(tmp_path / "v.npz"), "--json"]) == 0
    made = strict(capfd.readouterr().out)
    assert {row["error"] for row in made["skipped"]} == {"its features are not finite numbers"}
    assert np.isfinite(np.load(tmp_path / "v.npz")["vector"]).all()
    assert run(["check", str(garden), "--json"]) == 0
    strict(capfd.readouterr().out)
    assert run(["recommend", str(garden), *SMALL, "--no-pilot", "--json"]) == 0
    strict(capfd.readouterr().out)


def test_a_network_that_gives_no_number_at_all(
    trained: Trained, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, broken: Any
) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    broken(lambda number: True)
    model, images = ["--model", str(trained.bundle)], str(garden)
    assert run(["predict", images, *model, "--json"]) == 2  # as where no image can be read
    assert all(strict(line)["error"] == NOT_FINITE for line in capfd.readouterr().out.splitlines())
    for arguments in (
        ["evaluate", images, *model, "--json"],
        ["explain", images, *model, "--json", "-o", str(tmp_path / "drawn")],
        ["embed", images, "-o", str(tmp_path / "v.npz"), "--json"],
        ["recommend", images, "--json"],
        ["train", images, "--strategy", "freeze", "-o", str(tmp_path / "m.tlkit"), "--json"],
    ):
        assert run(arguments) == 2, arguments
        said = capfd.readouterr()
        assert said.out == ""
        assert "error: " in said.err
        assert "finite" in said.err
        assert "defect" not in said.err


def test_a_bundle_of_figures_that_are_no_numbers(tmp_path: Path) -> None:
    figures = {"val_loss": math.nan, "worst": [math.inf]}

    def write(place: Path) -> Manifest:
        (place / "model.keras").write_bytes(b"network")
        return Manifest("3", "", None, "none", "", "freeze", None, (8, 8), 1, ("a", "b"), figures, {}, {})

    target = save_bundle(
        tmp_path / "m.tlkit",
        write=write,
        plan={"expected": [math.nan]},
        history=[{"step": 1, "loss": math.nan}],
    )
    assert strict((target / "tlkit.json").read_text())["metrics"] == {"val_loss": None, "worst": [None]}
    assert strict((target / "plan.json").read_text()) == {"expected": [None]}
    assert (target / "history.csv").read_text().splitlines() == ["step,loss", "1,"]
    assert load(target).manifest["metrics"]["val_loss"] is None  # its digest is right


def test_training_that_ends_without_numbers_saves_the_frozen_network(
    make_folder: Callable[..., Path], small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tuning._answers

    def without_numbers(*arguments: Any) -> Any:
        probabilities, features = real(*arguments)
        return {split: np.full_like(rows, np.nan) for split, rows in probabilities.items()}, features

    monkeypatch.setattr(tuning, "_answers", without_numbers)
    options: Any = {
        "strategy": "fine-tune",
        "backbone": str(small),
        "epochs": 1,
        "learning_rate": 1e-3,
        "batch_size": 8,
    }
    result = tlkit.train(make_folder({"a": 8, "b": 8}), output=tmp_path / "m.tlkit", report=False, **options)
    assert result.plan.strategy == "freeze"
    assert "no finite output" in result.plan.reasons[0]
    strict(json_text(result.to_json()))
    assert math.isfinite(result.metrics["val_loss"])
