"""What may be given as images, from Python and on the command line."""

from __future__ import annotations

import array
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ran, Trained, image
from PIL import Image

import tlkit
from tlkit.api.inputs import find_images
from tlkit.api.places import places_named
from tlkit.errors import TlkitError
from tlkit.images.given import GivenImage, given_image
from tlkit.images.read import UnreadableImage, read_details

Make = Callable[..., Path]


def names(found: list[Any]) -> list[str]:
    return [each.name for each in found]


@pytest.fixture
def folder(make_folder: Make) -> Path:
    return make_folder({"d[1]": 3, "d1": 2}, "photos")


@pytest.mark.parametrize("kind", [str, Path])
def test_one_path_is_one_path(kind: type, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A string was once taken letter by letter, and "/" with all images of the machine was among the letters."""
    monkeypatch.chdir(folder.parent)
    assert len(find_images(kind("photos"))) == 5
    assert find_images(kind("photos/d1/0.png")) == [Path("photos/d1/0.png")]
    assert find_images(kind("photos/nothing.png")) == [Path("photos/nothing.png")]  # its row says so
    assert places_named(kind("photos")).within == (Path("photos"),)


@pytest.mark.parametrize("many", [list, tuple, iter, np.array, lambda paths: dict.fromkeys(paths).keys()])
def test_many_paths_are_given_in_any_way(many: Callable[..., Any], folder: Path) -> None:
    files = [str(folder / "d1" / "0.png"), str(folder / "d1" / "1.png")]
    assert find_images(many(files)) == [Path(file) for file in files]
    assert find_images(many([*files, files[0]])) == [Path(file) for file in files]  # each file once


def test_a_folder_whose_name_is_a_pattern_is_meant_literally(folder: Path) -> None:
    inside = [folder / "d[1]" / f"{n}.png" for n in range(3)]
    assert find_images(folder / "d[1]" / "*.png") == inside
    assert find_images(folder / "d[1]") == inside
    assert find_images(folder / "d[1]" / "0.png") == inside[:1]
    assert find_images(folder / "d[1]" / "[01].png") == inside[:2]
    assert find_images(f"{folder}/**/2.png") == inside[2:]
    assert find_images(f"{folder}/d*/0.png") == [folder / "d1" / "0.png", inside[0]]
    (folder / "d[1]").rename(folder / "d2")
    assert find_images(folder / "d[1]" / "*.png") == [folder / "d1" / f"{n}.png" for n in range(2)]


def test_a_pattern_that_matches_nothing_is_said(folder: Path) -> None:
    for nothing in (folder / "*.jpg", [folder / "*.jpg", f"{folder}/[xyz]/**"]):
        with pytest.raises(TlkitError, match=r"no files match .*\*\.jpg"):
            find_images(nothing)
    # beside images it is a row
    assert names(find_images([folder / "*.jpg", folder / "d1" / "0.png"])) == ["*.jpg", "0.png"]


def test_odd_entries_raise_nothing(folder: Path) -> None:
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "up").symlink_to(folder)
    (folder / "[x].png").symlink_to(folder / "nowhere")
    assert {"gone.png", "loop.png", "[x].png"} <= set(names(find_images(folder)))
    assert len(find_images(folder)) == 8
    long, null = "x" * 5000, "a\0b"
    assert [str(each) for each in find_images([folder / "[x].png", folder / "loop.png" / "y", long, null])] == [
        *map(str, (folder / "[x].png", folder / "loop.png" / "y", long, null))
    ]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (None, "images cannot be of type NoneType"),
        (7, "images cannot be of type int"),
        ({"a": "b"}, "images cannot be of type dict"),
        ([["a.png"]], r"images\[0\] cannot be of type list"),
        (["a.png", None], r"images\[1\] cannot be of type NoneType"),
        ([1.5], r"images\[0\] cannot be of type float"),
        (io.BytesIO(b"x"), r"images cannot be of type _io\.BytesIO"),
        ([io.BytesIO(b"x")], r"images\[0\] cannot be of type _io\.BytesIO"),
        (array.array("B", [1]), r"images\[0\] cannot be of type int"),
        ("", "image is an empty path"),
        (np.zeros((4, 4, 3), np.float32), r"image is an array of float32 \[4x4x3\]"),
        (np.zeros((3, 4, 4), np.uint8)[None, None], r"image is an array of shape \[1x1x3x4x4\]"),
        (np.zeros((3, 8, 8), np.uint8), r"image is an array of shape \[3x8x8\]"),
        ([np.zeros((0, 8, 3), np.uint8)], r"images\[0\] is an array of shape \[0x8x3\]"),
        (np.zeros((2, 8, 8, 2), np.uint8), r"images\[0\] is an array of shape \[8x8x2\]"),
        (np.array(3, np.uint8), "image is an array of shape"),
        ([], "no images in nothing"),
    ],
)
def test_what_is_no_image_is_named(wrong: Any, named: str) -> None:
    with pytest.raises(TlkitError, match=named):
        find_images(wrong)


def test_images_in_memory_are_named_by_their_place() -> None:
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    assert names(find_images(pixels[0])) == ["image"]
    assert names(find_images(pixels)) == ["images[0]", "images[1]"]
    assert names(find_images(["a.png", pixels[0], b"bytes", pixels[0]])) == [
        "a.png",
        "images[1]",
        "images[2]",
        "images[3]",  # the same twice is two images
    ]


def png(picture: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "I;16", "CMYK"])
def test_images_in_memory_are_read_as_files_are(mode: str) -> None:
    picture = image(5, (90, 60)).convert("RGB")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif mode == "CMYK":
        picture = picture.convert("CMYK")
    else:
        if mode in ("RGBA", "LA"):
            picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        picture = picture.convert(mode)
    expected = read_details(png(picture), (32, 32)).pixels if mode != "CMYK" else None
    held = given_image(picture, "x")
    before = picture.tobytes()
    if expected is not None:
        assert (held.read((32, 32)).pixels == expected).all()
    assert held.read().pixels.shape == (60, 90, 3)
    assert picture.tobytes() == before
    if mode in ("RGB", "L", "RGBA"):
        from_array = given_image(np.asarray(picture), "x")
        assert (from_array.read((32, 32)).pixels == expected).all()
        assert from_array.content() == held.content()


def test_a_pillow_image_is_turned_upright_as_its_file_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(image(3, (80, 40)), exif=exif)
    opened = Image.open(io.BytesIO(data))
    assert (given_image(opened, "x").read().pixels == read_details(data).pixels).all()
    assert given_image(opened, "x").read().pixels.shape == (80, 40, 3)


def test_a_damaged_image_in_memory_is_unreadable() -> None:
    data = png(image(3, (80, 40)))
    for broken in (b"", b"no image", data[:-200], Image.open(io.BytesIO(data[: len(data) // 2]))):
        with pytest.raises(UnreadableImage):
            given_image(broken, "x").read((8, 8))
    assert isinstance(given_image(bytearray(data), "x"), GivenImage)


def test_every_function_takes_every_kind(trained: Trained, unseen: Path, tmp_path: Path) -> None:
    """The same photo as path, bytes, Pillow image and array: one label, and numbers as near as its reading is."""
    file = unseen / "birds-magpie.png"
    with Image.open(file) as opened:
        pixels = np.asarray(opened)  # RGBA
        kinds = [str(file), file, file.read_bytes(), bytearray(file.read_bytes()), opened, pixels]
        labels = [tlkit.predict(kind, trained.bundle) for kind in kinds]
        rows = tlkit.predict([*kinds[2:], b"no image"], trained.bundle)
        vectors = tlkit.embed(kinds[1:])
        single = [next(iter(tlkit.embed_iter(kind))) for kind in kinds]
        drawn = tlkit.explain([file, opened, pixels, b"none"], trained.bundle, output=tmp_path / "drawn")
        alone = tlkit.explain(pixels, trained.bundle, output=tmp_path / "alone")
    expected = labels[0][0]
    assert expected.label == "birds"
    assert expected.file == str(file)
    for (row,) in labels:
        assert (row.label, row.top, row.unknown) == (expected.label, expected.top, expected.unknown)
    assert [row.file for row in rows] == [f"images[{n}]" for n in range(5)]
    assert [row.label for row in rows] == ["birds"] * 4 + [None]
    assert rows[4].error == "not an image"
    assert [row.file for row in vectors] == [str(file), *(f"images[{n}]" for n in range(1, 5))]
    for row in [*vectors, *single]:
        assert row.vector is not None
        assert single[0].vector is not None
        np.testing.assert_array_equal(row.vector, single[0].vector)
    assert [row.label for row in [*drawn, *alone]] == ["birds", "birds", "birds", None, "birds"]
    assert sorted(file.name for file in (tmp_path / "drawn").iterdir()) == [
        "0001-birds-magpie.png",
        "0002-image.png",
        "0003-image.png",
        "contact-sheet.png",
    ]


def test_vectors_of_images_in_memory_go_into_a_file(tmp_path: Path) -> None:
    pixels = np.stack([np.asarray(image(seed)) for seed in range(3)])
    result = tlkit.embed_file(iter(pixels), tmp_path / "v.npz")
    assert result.images == 3
    with np.load(tmp_path / "v.npz") as written:
        assert written["file"].tolist() == [f"images[{n}]" for n in range(3)]


def test_the_command_says_it_too(tlkit: Callable[..., Ran], trained: Trained, unseen: Path, tmp_path: Path) -> None:
    odd = tmp_path / "d[1]"
    odd.mkdir()
    (odd / "a.png").write_bytes((unseen / "birds-magpie.png").read_bytes())
    ran = tlkit("predict", "d[1]/*.png", "-m", trained.bundle, "--json", cwd=tmp_path)
    assert [row["file"] for row in ran.lines] == ["d[1]/a.png"]
    ran = tlkit("predict", "d[1]/*.jpg", "-m", trained.bundle, "--json", cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "no files match d[1]/*.jpg" in ran.err
