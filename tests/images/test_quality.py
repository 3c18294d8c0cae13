"""Faults planted in photographs are found, at every size, and photographs as they are raise no alarm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tlkit.images.duplicates import fingerprint_and_grey
from tlkit.images.quality import KINDS, SOFT, Quality, faults_of, qualities_of
from tlkit.images.read import read_image

Change = Callable[[Image.Image], Image.Image]
PLANTED: dict[str, Change] = {
    "dark": lambda image: image.point(lambda value: value * 0.1),
    "overexposed": lambda image: image.point(lambda value: min(255, 200 + 3 * value)),
    "low_information": lambda image: image.point(lambda value: 128 + (value - 128) / 20),
    "blurry": lambda image: image.filter(ImageFilter.GaussianBlur(0.03 * max(image.size))),
}


@pytest.fixture(scope="module")
def photos(garden: Path) -> list[Image.Image]:
    return [Image.fromarray(read_image(file)) for file in sorted(garden.rglob("*.png"))[::6]]


def measured(image: Image.Image, size: tuple[int, int] | None = None) -> Quality:
    return of_pixels(np.asarray(image if size is None else image.resize(size)))


def of_pixels(pixels: np.ndarray) -> Quality:
    return qualities_of([fingerprint_and_grey(pixels)[1]])[0]


def test_photographs_raise_no_alarm(photos: list[Image.Image]) -> None:
    assert faults_of([measured(each) for each in photos]) == [None] * len(photos)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [None, (96, 96), (224, 224)])
def test_planted_faults_are_found(kind: str, size: tuple[int, int] | None, photos: list[Image.Image]) -> None:
    changed = [measured(PLANTED[kind](each), size) for each in photos[:3]]
    rest = [measured(each, size) for each in photos[3:]]
    assert faults_of([*changed, *rest]) == [kind] * 3 + [None] * len(rest)


def test_products_on_white_and_scans_on_black_are_no_fault() -> None:
    product, scan, drawing = (Image.new("RGB", (200, 200), ground) for ground in ("white", "black", "white"))
    ImageDraw.Draw(product).ellipse((70, 70, 130, 130), fill=(180, 40, 40))
    ImageDraw.Draw(scan).ellipse((60, 60, 140, 140), fill=(120, 120, 120))
    ImageDraw.Draw(drawing).line((20, 20, 180, 180), fill="black", width=8)
    assert faults_of([measured(each) for each in (product, scan, drawing)]) == [None] * 3


def test_where_all_images_are_soft_none_stands_out() -> None:
    soft = [Quality(10, 100, 200, 0.34)] * 9
    assert faults_of(soft) == [None] * 9
    assert faults_of([*soft, Quality(10, 100, 200, 0.26)]) == [None] * 9 + ["blurry"]
    sharp = [Quality(10, 100, 200, 0.6)] * 9
    assert faults_of([*sharp, Quality(10, 100, 200, SOFT - 0.01), Quality(10, 100, 200, SOFT)])[9:] == ["blurry", None]


def test_an_image_that_was_not_measured_has_no_fault() -> None:
    assert faults_of([]) == []
    assert faults_of([None, Quality(0, 10, 20, 0.5), None]) == [None, "dark", None]


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3, 2), (2000, 5)])
def test_any_shape_can_be_measured(shape: tuple[int, int]) -> None:
    found = of_pixels(np.full((*shape, 3), 7, np.uint8))
    assert found[:3] == (7, 7, 7)
