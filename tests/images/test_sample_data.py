"""The sample images are what their README says."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

SAMPLES = Path(__file__).parents[2] / "sample_data"
COUNTS = {"birds": 28, "flowers": 17, "fruit": 18, "vegetables": 16}


@pytest.fixture(scope="module")
def garden():
    return sorted((SAMPLES / "garden").rglob("*.*"))


@pytest.fixture(scope="module")
def unseen():
    return sorted((SAMPLES / "unseen").rglob("*.*"))


def content(path):
    """The pixels' hash, so that one image compressed twice counts as the same."""
    with Image.open(path) as image:
        return hashlib.sha256(repr(image.size).encode() + image.convert("RGBA").tobytes()).hexdigest()


def test_classes_and_counts(garden, unseen):
    assert Counter(path.parent.name for path in garden) == COUNTS
    assert Counter(path.name.split("-")[0] for path in unseen) == dict.fromkeys(COUNTS, 2)
    assert {path.parent for path in unseen} == {SAMPLES / "unseen"}


def test_readme_names_the_counts():
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    for name, count in COUNTS.items():
        assert f"| {name} | {count} | 2 |" in readme
    assert f"| total | {sum(COUNTS.values())} | 8 |" in readme


def test_images_are_small_pngs_and_some_are_transparent(garden, unseen):
    transparent = 0
    for path in garden + unseen:
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG", path
            assert max(image.size) <= 256, path
            assert min(image.size) >= 20, path
            transparent += image.mode == "RGBA" and image.getchannel("A").getextrema()[0] == 0
    assert transparent > len(garden) / 2
    assert sum(path.stat().st_size for path in garden + unseen) < 5_000_000


def test_no_image_twice(garden, unseen):
    contents = [content(path) for path in garden + unseen]
    assert len(set(contents)) == len(contents)
    names = {f"{path.parent.name}-{path.name}" for path in garden}
    assert not names & {path.name for path in unseen}


def test_licence_is_there():
    text = (SAMPLES / "LICENSE.GPL-2").read_text(encoding="utf-8")
    assert "GNU GENERAL PUBLIC LICENSE" in text
    assert "Version 2, June 1991" in text
