from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tlkit.images.duplicates import (
    LIKELY_BITS,
    SURE_BITS,
    copy_pairs,
    exact_copies,
    fingerprint,
    group_pairs,
    groups_of,
    near_pairs,
)
from tlkit.images.read import read_image

PRINTS = st.lists(st.one_of(st.just(b""), st.binary(min_size=16, max_size=16)), max_size=30)


def bits_apart(one: bytes, two: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(two, "big")).bit_count()


@given(PRINTS, st.data())
def test_near_pairs_are_those_a_plain_comparison_finds(prints: list[bytes], data: st.DataObject) -> None:
    for index, each in enumerate(prints):  # plant some near ones
        if each and data.draw(st.booleans()):
            flips = data.draw(st.integers(0, 2**128 - 1)) & data.draw(st.integers(0, 2**128 - 1)) & 0x111111
            prints.append((int.from_bytes(each, "big") ^ flips).to_bytes(16, "big"))
        if index > 60:
            break
    expected = {
        (i, j, bits_apart(prints[i], prints[j]))
        for i in range(len(prints))
        for j in range(i + 1, len(prints))
        if prints[i] and prints[j] and bits_apart(prints[i], prints[j]) <= 6
    }
    assert set(near_pairs(prints, 6)) == expected


def test_near_pairs_over_several_blocks() -> None:
    rng = np.random.default_rng(0)
    prints = [rng.bytes(16) for _ in range(3000)]
    prints += [bytes([prints[n][0] ^ 1]) + prints[n][1:] for n in range(0, 3000, 100)]
    found = {(one, two) for one, two, _ in near_pairs(prints, 6)}
    assert found == {(n, 3000 + n // 100) for n in range(0, 3000, 100)}


def encoded(image: Image.Image, form: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_resized_and_re_encoded_copies_are_near_and_others_are_not(garden: Path) -> None:
    originals = [Image.fromarray(read_image(path)) for path in sorted(garden.rglob("*.png"))]
    originals = [image for image in originals if min(image.size) >= 100]
    assert len(originals) >= 20
    prints = [fingerprint(np.asarray(image)) for image in originals]
    apart = []
    for original, own in zip(originals, prints, strict=True):
        width, height = original.size
        for copy in (
            encoded(original, "JPEG", quality=40),
            encoded(original.resize((width // 2, height // 2)), "PNG"),
            encoded(original.resize((2 * width, 2 * height)), "JPEG", quality=80),
            encoded(original, "WEBP", quality=60),
        ):
            apart.append(bits_apart(own, fingerprint(read_image(copy))))
            apart.append(bits_apart(own, fingerprint(read_image(copy, (224, 224)))))
    assert max(apart) <= LIKELY_BITS
    assert np.mean(np.array(apart) <= SURE_BITS) >= 0.97
    assert len(list(near_pairs(prints, LIKELY_BITS))) == 0


def waves(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([(x * x + 3 * y) % 256, (x * y) % 256, (5 * x + y * y) % 256], axis=2).astype(np.uint8)


# what ImageHash 4.3.2 gives: fingerprints are kept in the cache, so the bits must never change
@pytest.mark.parametrize(
    ("size", "bits"),
    [
        ((1, 300), "d9d9d9d9d9d9d9d90000000000000000"),
        ((7, 5), "5f7f7fffff7fffffbf7fffffffffffff"),
        ((32, 32), "edeff8e3e6c9dad4fffef873e6c9dad4"),
        ((33, 90), "f3e39aaa869db5b5ffe69cb3c68db310"),
        ((200, 150), "95ab5299919aa48dff835c648b971424"),
        ((480, 640), "8112494890134545da0421004b803400"),
    ],
)
def test_the_bits_of_images_of_many_sizes(size: tuple[int, int], bits: str) -> None:
    assert fingerprint(waves(*size)).hex() == bits


@pytest.mark.parametrize(
    ("file", "bits"),
    [
        ("birds/adelaide-rosella", "23070e1fb02c70d022461cfd943868d0"),
        ("birds/albino_peahen", "0004040501311303000100001901c0ff"),
        ("flowers/anemone_red", "333b1b4d4d39130b800124649edb633e"),
        ("fruit/apple_red", "070b71f0f0616b17003c7e80818183c3"),
        ("fruit/pear", "4d96163341f07133005b11247e5e81c3"),
        ("vegetables/broccoli", "8c1f3b090b19396681987468581f3f73"),
    ],
)
def test_the_bits_of_sample_images(garden: Path, file: str, bits: str) -> None:
    assert fingerprint(read_image(garden / f"{file}.png")).hex() == bits


def test_blank_images_have_no_fingerprint() -> None:
    rng = np.random.default_rng(0)
    assert fingerprint(np.full((50, 50, 3), 200, np.uint8)) == b""
    assert fingerprint(np.zeros((1, 1, 3), np.uint8)) == b""
    assert fingerprint(rng.integers(100, 104, (60, 60, 3)).astype(np.uint8)) == b""
    assert len(fingerprint(np.asarray(image(0)))) == 16


def test_copies_are_exact_ones_and_confirmed_near_ones() -> None:
    one, near, far = bytes(16), bytes(15) + b"\x7f", bytes(15) + b"\xff"  # 7 and 8 bits from the first
    contents = ["a", "b", "a", "", "c"]
    prints = [one, near, one, b"", far]
    assert exact_copies(contents) == [[0, 2]]
    assert copy_pairs(contents, prints) == [(0, 2), (1, 4)]
    asked: list[tuple[int, int, int]] = []

    def confirm(i: int, j: int, apart: int) -> bool:
        asked.append((i, j, apart))
        return apart < 8

    assert sorted(copy_pairs(contents, prints, confirm)) == [(0, 1), (0, 2), (1, 4)]
    assert sorted(asked) == [(0, 1, 7), (0, 4, 8), (1, 4, 1)]


def test_groups() -> None:
    numbers = group_pairs([(0, 1), (1, 4), (2, 5)], 6)
    assert groups_of(numbers) == [[0, 1, 4], [2, 5]]
    assert groups_of(group_pairs([], 3)) == []
