"""How deep integers, floats and rare modes become 8-bit grey or RGB."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tlkit.images import modes
from tlkit.images.read import read_image


def difference(one: np.ndarray, other: np.ndarray) -> int:
    """The largest difference between two arrays of the same shape."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


def test_deep_image_is_divided_by_257(corpus: ModuleType) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (40, 50)).astype(np.uint16)
    values[0, 0] = 65535
    data = corpus.encode(Image.fromarray(values), "PNG")
    np.testing.assert_array_equal(read_image(data)[..., 1], np.round(values / 257))


def test_same_sensor_keeps_relative_brightness(corpus: ModuleType) -> None:
    bright, dim = (corpus.encode(Image.fromarray(np.full((2, 2), v, np.uint16)), "PNG") for v in (4000, 2000))
    assert read_image(bright)[0, 0, 0] == round(4000 * 255 / 4095)
    assert read_image(dim)[0, 0, 0] == round(2000 * 255 / 4095)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 255], [0, 255]),
        ([0, 256], [0, round(256 * 255 / 1023)]),
        ([0, 1023], [0, 255]),
        ([0, 4095], [0, 255]),
        ([0, 2**24 - 1], [0, 255]),
        ([0, 2**24], [0, 1]),
        ([-10, 0, 10], [0, 128, 255]),
        ([-5, -5], [0, 0]),
    ],
)
def test_integers_are_scaled_by_the_depth_that_holds_them(values: list[int], expected: list[int]) -> None:
    grey = modes.scale_to_8_bits(np.array([values], np.int64))
    assert grey.dtype == np.uint8
    assert grey.tolist() == [expected]


def test_scaling_in_bands_is_the_same_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(0, 1000, (37, 11))
    whole = modes.scale_to_8_bits(values)
    monkeypatch.setattr(modes, "BAND_PIXELS", 25)
    np.testing.assert_array_equal(modes.scale_to_8_bits(values), whole)


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "LAB", "CMYK", "RGBX", "RGBa", "La", "PA", "I", "F"])
def test_mode_that_no_file_here_has_is_converted(corpus: ModuleType, mode: str) -> None:
    image = Image.fromarray(corpus.quarters())
    via = {"LAB": None, "RGBa": "RGBA", "La": "LA", "PA": "P"}.get(mode, "RGB")
    if mode == "LAB":
        pytest.importorskip("PIL.ImageCms")
        converted = Image.frombytes("LAB", (1, 1), bytes([138, 209 ^ 128, 198 ^ 128]))
        expected = np.array([[corpus.RED]])
    else:
        converted = image.convert(via).convert(mode)
        grey = np.asarray(image.convert("L"))[..., None].repeat(3, -1)
        expected = grey if mode in ("La", "I", "F") else corpus.quarters()
    read_as = modes.to_rgb_or_grey(converted)
    assert read_as.mode in ("RGB", "L")
    assert difference(np.asarray(read_as.convert("RGB")), expected) <= 6


def test_a_signalling_nan_is_black_and_gives_no_warning() -> None:
    values = np.array([[0x7F800001, 0x3F800000]], np.uint32).view(np.float32)  # a signalling NaN, 1.0
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(modes.scale_to_8_bits(values), [[0, 255]])
