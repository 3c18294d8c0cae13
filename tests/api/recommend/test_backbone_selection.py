"""``--backbone auto``, on made-up images and the networks whose weights are installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran

import tlkit as package
from tlkit.backbones import catalog
from tlkit.errors import TlkitError
from tlkit.plan.values import count_of

Make = Callable[..., Path]


@pytest.fixture
def images(make_folder: Make) -> Path:
    return make_folder({"a": 10, "b": 10})


def test_those_on_this_machine_are_compared_and_the_smallest_good_one_is_taken(images: Path) -> None:
    found = package.recommend(images, backbone="auto", image_size=64)
    why = found.plan.reasons[0]
    for row in map(catalog.get, catalog.names()):
        assert (f"{row.name} " in why) == catalog.is_here(row)
    assert catalog.is_here(catalog.get("efficientnet-lite2"))
    assert found.plan.backbone in catalog.names()
    assert why.startswith(found.plan.backbone)


def test_limits_leave_the_smaller_ones(images: Path) -> None:
    found = package.recommend(images, backbone="auto", image_size=64, max_params=3.5e6)
    assert found.plan.backbone == catalog.DEFAULT
    assert "lite1" not in found.plan.reasons[0]
    with pytest.raises(TlkitError, match="--max-params"):
        package.recommend(images, backbone="auto", max_params=1000)
    with pytest.raises(TlkitError, match="ms per image"):
        package.recommend(images, backbone="auto", image_size=64, max_latency=1e-9)


def test_what_decides_a_backbone_is_refused_beside_it(images: Path, tmp_path: Path) -> None:
    with pytest.raises(TlkitError, match="--backbone auto"):
        package.train(images, backbone="auto", weights="none", output=tmp_path / "x.tlkit")
    assert not (tmp_path / "x.tlkit").exists()


@pytest.mark.parametrize(
    ("text", "count"), [("5M", 5e6), ("1.5m", 1.5e6), ("300k", 3e5), ("4000000", 4e6), ("1.5G", 1.5e9)]
)
def test_numbers_of_parameters(text: str, count: float) -> None:
    assert count_of(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1M", "many", "5T"])
def test_what_is_no_number_of_parameters(text: str) -> None:
    with pytest.raises(TlkitError, match="--max-params"):
        count_of(text)


def test_the_command_trains_the_one_it_takes(tlkit: Callable[..., Ran], images: Path, tmp_path: Path) -> None:
    place = tmp_path / "here"
    place.mkdir()
    ran = tlkit(
        *("train", images, "--backbone", "auto", "--strategy", "freeze", "--image-size", 64, "--max-params", "4.5M"),
        "--json",
        cwd=place,
    )
    assert ran.code == 0, ran.err
    assert ran.json["backbone"] in ("efficientnet-lite0", "efficientnet-lite1")
    assert "lite2" not in ran.json["plan"]["reasons"][0]
    manifest = json.loads((place / "images.tlkit" / "tlkit.json").read_text())
    assert manifest["backbone"] == ran.json["backbone"]
    predicted = tlkit("predict", images / "a", "--json", cwd=place)
    assert predicted.code == 0, predicted.err
    assert len(predicted.lines) == 10
