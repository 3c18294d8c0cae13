"""What a file is by its first bytes and by its name."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tlkit.images import formats
from tlkit.images.read import IMAGE_SUFFIXES, UnreadableImage, read_image, sniff_format, suffix_matches

HEIC_HEADER = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(100)


def test_text_is_no_tga_unless_it_says_so(tmp_path: Path, corpus: ModuleType) -> None:
    # Old TGA files have nothing but their name to tell them by.
    old = corpus.good()["plain.tga"].data[:-26]
    (tmp_path / "old.tga").write_bytes(old)
    np.testing.assert_array_equal(read_image(tmp_path / "old.tga"), corpus.quarters())
    with pytest.raises(UnreadableImage, match="not an image"):
        read_image(old)


def test_sniffed_format_is_the_real_one(corpus: ModuleType) -> None:
    for case in corpus.good().values():
        expected = {"MPO": "JPEG", "TGA": None, "DIB": None}.get(case.format, case.format)
        assert sniff_format(case.data[: formats.HEADER_BYTES]) == expected, case.name
    assert sniff_format(HEIC_HEADER) == "HEIC"
    assert sniff_format(HEIC_HEADER.replace(b"miaf", b"avif")) == "AVIF"
    assert sniff_format(b"\0\0\0\x14ftypisom\0\0\0\0mp41") is None
    assert sniff_format(b"") is None
    assert sniff_format(b"BM, a carmaker") is None


@pytest.mark.parametrize(
    ("name", "format", "matches"),
    [
        ("a.jpg", "JPEG", True),
        ("A.JPEG", "MPO", True),
        ("a.png", "JPEG", False),
        ("a.tif", "TIFF", True),
        ("a.heif", "HEIC", True),
        ("jpg", "JPEG", False),
        ("a.jpg", "PDF", False),
    ],
)
def test_suffix_matches(name: str, format: str, matches: bool) -> None:
    assert suffix_matches(name, format) is matches
    assert suffix_matches(Path("folder") / name, format) is matches


def test_every_decodable_format_has_suffixes_and_each_is_lower_case() -> None:
    for format in (*formats.FORMATS, "MPO", "HEIC"):
        assert any(suffix_matches(f"a{suffix}", format) for suffix in IMAGE_SUFFIXES), format
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)
