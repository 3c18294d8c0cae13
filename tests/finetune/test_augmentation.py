"""Augmentation: what it keeps, what it changes, and that it depends on its random numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from tlkit.finetune.augmentation import AMOUNTS, DRAWS, augment, draw
from tlkit.plan.choices import LIGHT, NONE, STRONG

SIDE = 24
UNCHANGED = [1.0] + [0.5] * (DRAWS - 1)  # no zoom, and the middle of all else
ZOOM, DOWN, RIGHT, TURN, MIRROR, BRIGHTNESS, CONTRAST, SATURATION = 0, 2, 3, 4, 5, 6, 7, 8
Array = np.ndarray


def images(count: int = 3, height: int = SIDE, width: int = SIDE, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, height, width, 3)).astype(np.float32)


def draws(count: int, **changed: float) -> Array:
    row = np.array(UNCHANGED, np.float32)
    for name, value in changed.items():
        row[globals()[name.upper()]] = value
    return np.tile(row, (count, 1))


def augmented(pixels: Array, numbers: Array, kind: str = LIGHT, flip: bool = False) -> Array:
    return np.asarray(augment(pixels, numbers, kind, flip))


@pytest.mark.parametrize("kind", [NONE, LIGHT, STRONG])
@pytest.mark.parametrize("flip", [False, True])
def test_images_stay_images(kind: str, flip: bool) -> None:
    pixels = images(height=20, width=28)
    found = augmented(pixels, draw(3, 1, 2), kind, flip)
    assert found.shape == pixels.shape
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 255
    assert np.array_equal(found, pixels) == (kind == NONE)


def test_numbers_from_the_middle_change_nothing() -> None:
    pixels = images()
    np.testing.assert_allclose(augmented(pixels, draws(3)), pixels, atol=0.02)


def test_half_of_the_images_are_mirrored_where_that_is_harmless() -> None:
    pixels = images()
    numbers = draws(3, mirror=0.49)
    numbers[1, MIRROR] = 0.51
    found = augmented(pixels, numbers, flip=True)
    expected = np.stack([pixels[0, :, ::-1], pixels[1], pixels[2, :, ::-1]])
    np.testing.assert_allclose(found, expected, atol=0.02)
    np.testing.assert_allclose(augmented(pixels, numbers, flip=False), pixels, atol=0.02)


def dot(row: int, column: int) -> Array:
    """A wide white spot on black."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8)
    return np.tile(255 * spot[None, ..., None], (1, 1, 1, 3)).astype(np.float32)


def middle(pixels: Array) -> tuple[float, float]:
    weight = pixels[0, ..., 0] / pixels[0, ..., 0].sum()
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return float((weight * rows).sum()), float((weight * columns).sum())


@pytest.mark.parametrize(
    ("changed", "row", "column"),
    [
        ({"turn": 1.0}, "same", "same"),
        ({"zoom": 0.0}, "same", "same"),
        ({"zoom": 0.0, "down": 0.0}, "more", "same"),
        ({"zoom": 0.0, "down": 1.0}, "less", "same"),
        ({"zoom": 0.0, "right": 0.0}, "same", "more"),
        ({"zoom": 0.0, "right": 1.0}, "same", "less"),
    ],
)
def test_the_middle_moves_as_it_is_told(changed: dict[str, float], row: str, column: str) -> None:
    # an odd side would have a middle pixel; here the middle lies between two
    spot = (dot(SIDE // 2, SIDE // 2) + dot(SIDE // 2 - 1, SIDE // 2 - 1)) / 2
    found = middle(augmented(spot, draws(1, **changed), STRONG if "hole" in changed else LIGHT))
    for value, expected in zip(found, (row, column), strict=True):
        moved = value - (SIDE - 1) / 2
        assert (abs(moved) < 0.2) if expected == "same" else (moved > 1 if expected == "more" else moved < -1)


def test_a_zoom_shows_a_smaller_part_larger() -> None:
    spot = dot(SIDE // 2, SIDE // 2)
    bright = [(augmented(spot, draws(1, zoom=zoom)) > 100).sum() for zoom in (0.0, 0.5, 1.0)]
    assert bright[0] > bright[1] > bright[2]


def test_a_turn_goes_the_other_way_with_the_other_number() -> None:
    spot = dot(4, SIDE // 2)
    one, two = (middle(augmented(spot, draws(1, turn=turn)))[1] - SIDE // 2 for turn in (0.0, 1.0))
    assert one * two < 0
    assert abs(one) > 0.5


@pytest.mark.parametrize("number", ["brightness", "contrast", "saturation"])
def test_light_is_changed_both_ways(number: str) -> None:
    pixels = 64 + images(2) / 4  # far from both ends
    low, high = (augmented(pixels, draws(2, **{number: value})) for value in (0.0, 1.0))

    def figure(found: Array) -> float:
        if number == "brightness":
            return float(found.mean())
        spread = found.mean(axis=3) if number == "contrast" else found - found.mean(axis=3, keepdims=True)
        return float(spread.std())

    amount = AMOUNTS[LIGHT].light
    assert figure(low) / figure(pixels) == pytest.approx(1 - amount, abs=0.01)
    assert figure(high) / figure(pixels) == pytest.approx(1 + amount, abs=0.01)
    if number != "brightness":
        np.testing.assert_allclose(low.mean(axis=(1, 2, 3)), pixels.mean(axis=(1, 2, 3)), atol=0.1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_light_stays_in_range(value: float) -> None:
    pixels = np.where(images() > 127, 255, 0).astype(np.float32)
    found = augmented(pixels, draws(3, brightness=value, contrast=value, saturation=value), STRONG)
    assert found.min() >= 0
    assert found.max() <= 255


def test_strong_lays_a_hole_where_its_numbers_say() -> None:
    pixels = np.full((2, 40, 40, 3), 200, np.float32)
    numbers = draws(2)
    numbers[1, 9:11] = 0.25, 0.75
    grey = (augmented(pixels, numbers, STRONG) == 127).all(axis=3)
    share = AMOUNTS[STRONG].hole ** 2
    for row, (down, right) in enumerate([(20, 20), (10, 30)]):
        assert grey[row].mean() == pytest.approx(share, abs=0.02)
        rows, columns = np.nonzero(grey[row])
        assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((down, right), abs=0.6)
    assert not (augmented(pixels, numbers, LIGHT) == 127).any()


@pytest.mark.parametrize("kind", [LIGHT, STRONG])
def test_a_batch_in_parts_is_the_same(kind: str) -> None:
    pixels, numbers = images(5), draw(5, 3, 4)
    whole = augmented(pixels, numbers, kind, True)
    parts = [augmented(pixels[part], numbers[part], kind, True) for part in (slice(0, 2), slice(2, 3), slice(3, 5))]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-3)
    assert len({each.tobytes() for each in augmented(np.tile(pixels[:1], (5, 1, 1, 1)), numbers, kind, True)}) == 5


def test_strong_changes_more_than_light() -> None:
    pixels, numbers = images(20), draw(20, 0, 0)
    smooth = pixels.mean(axis=(1, 2), keepdims=True) + np.linspace(0, 60, SIDE, dtype=np.float32)[:, None, None]
    light, strong = (np.abs(augmented(smooth, numbers, kind) - smooth).mean() for kind in (LIGHT, STRONG))
    assert strong > 1.3 * light


@given(
    numbers=some.arrays(np.float32, (2, DRAWS), elements=st.floats(0, 1, width=32)),
    kind=st.sampled_from([LIGHT, STRONG]),
    flip=st.booleans(),
)
def test_any_numbers_give_images(numbers: Array, kind: str, flip: bool) -> None:
    pixels = images(2, 12, 12)
    found = augmented(pixels, numbers, kind, flip)
    assert found.shape == pixels.shape
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 255


def test_random_numbers_are_those_of_seed_and_step() -> None:
    np.testing.assert_array_equal(draw(4, 7, 3), draw(4, 7, 3))
    np.testing.assert_array_equal(draw(4, 7, 3), draw(6, 7, 3)[:4])
    assert len({draw(4, seed, step).tobytes() for seed in range(5) for step in range(5)}) == 25
    many = draw(5000, 0, 0)
    assert many.shape == (5000, DRAWS)
    assert many.dtype == np.float32
    assert many.min() >= 0
    assert many.max() < 1
    np.testing.assert_allclose(many.mean(axis=0), 0.5, atol=0.03)


def test_every_number_is_used_by_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two things that shared a number would always be changed together."""
    pixels, base = images(1), draw(1, 5, 5)
    base[0, MIRROR] = 0.7
    base[0, 9:11] = 0.5
    seen = [augmented(pixels, base, STRONG, True).tobytes()]
    for number in range(DRAWS):
        other: Any = base.copy()
        other[0, number] = 0.2 if base[0, number] > 0.4 else 0.8
        seen.append(augmented(pixels, other, STRONG, True).tobytes())
    assert len(set(seen)) == DRAWS + 1
