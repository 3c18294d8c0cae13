"""The search of frozen networks, on made-up images and the networks whose weights are installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran
from PIL import Image

import tlkit as package
from tlkit.api.recommend import frozen_search as module
from tlkit.api.recommend.networks import networks_to_compare
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.start import prepare_start
from tlkit.backbones import catalog
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.folder import scan
from tlkit.plan.values import count_of

pytestmark = pytest.mark.usefixtures("one_bundle")

Make = Callable[..., Path]
LITE0, LITE1, LITE2 = (f"efficientnet-lite{number}" for number in range(3))


@pytest.fixture
def images(make_folder: Make) -> Path:
    return make_folder({"a": 10, "b": 10})


def networks(images: Path, **options: Any) -> list[tuple[str, int]]:
    """Names and sizes of the networks that would be compared."""
    request = TrainOptions.make(images, **options)
    start = prepare_start(request, Context())
    return [(each.row.name, each.size) for each in networks_to_compare(start, scan(images).paths, Context())]


def test_the_packaged_networks_are_compared_by_default(images: Path) -> None:
    found = package.recommend(images, image_size=32, pilot=False)
    assert {each.backbone for each in found.frozen} == {LITE0, LITE1, LITE2}
    assert {each.features for each in found.frozen} == {"last", "all"}
    assert {each.input_size for each in found.frozen} == {32}
    assert [found.plan.backbone, found.plan.input_size] in [[each.backbone, each.input_size] for each in found.frozen]
    lowest = min(found.frozen, key=lambda each: each.priced_loss)
    assert (found.plan.backbone, found.plan.frozen_features) == (lowest.backbone, lowest.features)
    first = found.to_json()["frozen"][0]
    assert (first["log_loss"], first["chosen"]) == (lowest.log_loss, True)


def test_inputs_are_not_larger_than_the_images(make_folder: Make, images: Path) -> None:
    assert networks(images) == [(LITE0, 224), (LITE1, 240), (LITE2, 260)]  # its images have some 40 pixels a side
    large = make_folder({"a": 2, "b": 2}, name="large")
    for file in large.rglob("*.png"):
        Image.open(file).resize((300, 310)).save(file)
    assert networks(large) == [(LITE0, 224), (LITE0, 288), (LITE1, 240), (LITE2, 260)]
    assert networks(large, backbone=LITE0) == [(LITE0, 224), (LITE0, 288)]


def test_what_is_given_is_not_searched(images: Path) -> None:
    assert networks(images, backbone="EfficientNet-Lite1") == [(LITE1, 240)]
    assert networks(images, image_size=64) == [(LITE0, 64), (LITE1, 64), (LITE2, 64)]
    assert networks(images, strategy="fine-tune") == [(LITE0, 224)]
    assert networks(images, weights="none") == [(LITE0, 224)]
    found = package.recommend(images, backbone=LITE1, image_size=32, features="all")
    assert found.frozen == ()
    assert (found.plan.backbone, found.plan.input_size, found.plan.frozen_features) == (LITE1, 32, "all")


def test_a_network_that_is_given_has_its_own_cost(images: Path, small: Path) -> None:
    for backbone, cost in ((LITE1, 598905232 / catalog.get(LITE0).operations), (str(small), 1.0)):
        start = prepare_start(TrainOptions.make(images, backbone=backbone), Context())
        (network,) = networks_to_compare(start, scan(images).paths, Context())
        assert network.cost == pytest.approx(cost)


def test_limits_leave_the_smaller_ones(images: Path) -> None:
    assert networks(images, image_size=64, max_params=3.5e6) == [(LITE0, 64)]
    with pytest.raises(TlkitError, match="--max-params"):
        networks(images, backbone="auto", max_params=1000)
    with pytest.raises(TlkitError, match="--max-latency"):
        networks(images, image_size=64, max_latency=1e-9)


def test_auto_compares_all_networks_on_this_machine(images: Path) -> None:
    found = {name for name, _ in networks(images, backbone="auto", image_size=64)}
    assert found == {row.name for row in catalog.rows() if catalog.is_here(row) and row.min_size <= 64}


def test_the_time_of_the_search_is_bounded(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"a": 40, "b": 40})
    monkeypatch.setattr(module, "MIN_IMAGES", 10)
    monkeypatch.setattr(module, "MIN_PASSES", 1.0)  # of 224 pixels: some fifty of 32
    monkeypatch.setattr(module, "PASSES", 0.0)
    found = package.recommend(root, image_size=32, pilot=False)
    assert 0 < max(each.images for each in found.frozen) < 40
    monkeypatch.setattr(module, "MIN_PASSES", 0.01)  # not enough for anything: the default network, both features
    found = package.recommend(root, image_size=32, pilot=False)
    assert {each.backbone for each in found.frozen} == {LITE0}
    assert {each.images for each in found.frozen} == {64}


def test_after_the_first_round_the_best_go_on(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    monkeypatch.setattr(module, "MIN_FIRST_ROUND", 10)
    found = package.recommend(make_folder({"a": 20, "b": 20}), image_size=32, pilot=False)
    rounds = sorted({each.images for each in found.frozen})
    assert rounds == [13, 32]
    assert len({each.backbone for each in found.frozen if each.images == 32}) == 2
    assert found.plan.backbone in {each.backbone for each in found.frozen if each.images == 32}


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
    assert "lite2" not in " ".join(ran.json["plan"]["reasons"])
    manifest = json.loads((place / "images.tlkit" / "tlkit.json").read_text())
    assert manifest["backbone"] == ran.json["backbone"]
    predicted = tlkit("predict", images / "a", "--json", cwd=place)
    assert predicted.code == 0, predicted.err
    assert len(predicted.lines) == 10
