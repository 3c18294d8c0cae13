from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tlkit.api.backbones.listing import list_backbones
from tlkit.errors import TlkitError
from tlkit.report import catalog_plot as scatter
from tlkit.report.catalog_plot import draw_catalogue

SVG = "{http://www.w3.org/2000/svg}"


def test_every_network_is_drawn_and_named_and_no_name_covers_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    covered: list[scatter.Box] = []
    label = scatter._label

    def watch(*arguments: Any) -> list[scatter.Box]:
        covered.extend(label(*arguments))
        return covered

    monkeypatch.setattr(scatter, "_label", watch)
    entries = list_backbones().entries
    draw_catalogue(entries, tmp_path / "plot.svg")
    root = ElementTree.parse(tmp_path / "plot.svg").getroot()
    assert {entry.name for entry in entries} <= {text.text for text in root.iter(f"{SVG}text")}
    assert len(covered) == len(entries)
    for one, other in itertools.combinations(covered, 2):
        assert scatter._shared(one, other) == 0


def test_the_same_again_and_as_png(tmp_path: Path) -> None:
    entries = list_backbones(match="resnet50").entries
    for name in ("one.svg", "other.svg", "plot.PNG"):
        draw_catalogue(entries, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    with Image.open(tmp_path / "plot.PNG") as drawn:
        assert drawn.size == (1650, 1125)


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    entries = list_backbones(match="vgg").entries
    with pytest.raises(TlkitError, match="--plot requires"):
        draw_catalogue(entries, tmp_path / "plot.jpg")
    (tmp_path / "mine.svg").write_text("mine")
    with pytest.raises(TlkitError, match="output exists"):
        draw_catalogue(entries, tmp_path / "mine.svg")
    with pytest.raises(TlkitError, match="no such folder"):
        draw_catalogue(entries, tmp_path / "none" / "plot.svg")
    with pytest.raises(TlkitError, match="published accuracy"):
        draw_catalogue([], tmp_path / "plot.svg")
    assert (tmp_path / "mine.svg").read_text() == "mine"
    assert not (tmp_path / "plot.svg").exists()
