"""The tables of docs/export.md are what was measured, and what was measured keeps its bounds."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
from conftest import ROOT

from tlkit.api.export.formats import BOUNDS, FORMATS


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("exports", ROOT / "benchmarks" / "exports.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_up_to_date(script: ModuleType) -> None:
    text = script.PAGE.read_text(encoding="utf-8")
    shown = text.partition(script.BEGIN)[2].partition(script.END)[0]
    assert shown == "\n" + script.tables() + "\n", "python benchmarks/exports.py --write"


def test_what_was_measured_is_within_the_bounds(script: ModuleType) -> None:
    rows = script.read()
    possible = {(each.name, precision) for each in FORMATS for precision in each.precisions}
    assert {(row["format"], row["precision"]) for row in rows} <= possible
    for row in rows:
        its, bound = row.get("agreement"), BOUNDS[row["precision"]]
        if its is not None:
            assert its["same_label"] >= bound.agreement
            assert bound.difference is None or its["max_difference"] <= bound.difference
