"""What one look at a file tells, and that many files are told in order, in one process or several."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from conftest import image
from PIL import Image

from tlkit.images import batches, facts
from tlkit.images.facts import CHUNK, Facts, examine


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "RETRY_SECONDS", 0.0)


def facts_about(path: Path) -> Facts:
    (found,) = examine([path], workers=1)
    return found


def test_a_good_image(tmp_path: Path) -> None:
    path = tmp_path / "good.png"
    image(1, size=(60, 40)).save(path)
    found = facts_about(path)
    assert found.content == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.error, found.format, found.fits_suffix, found.mode) == (None, "PNG", True, "RGB")
    assert (found.width, found.height) == (60, 40)
    assert len(found.fingerprint) == 16
    assert not found.blank


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"no image at all", ""), (None, "truncated")])
def test_an_unreadable_file_has_a_reason_and_nothing_else(tmp_path: Path, data: bytes | None, reason: str) -> None:
    path = tmp_path / "bad.png"
    image(1, size=(60, 40)).save(path)
    path.write_bytes(path.read_bytes()[:-400] if data is None else data)
    found = facts_about(path)
    assert found.error
    assert reason in found.error
    assert found == Facts(content="", error=found.error)
    assert not found.blank  # unreadable is another matter


def test_a_wrong_extension_is_seen_and_the_image_is_read(tmp_path: Path) -> None:
    path = tmp_path / "really.jpg"
    image(1).save(path, "PNG")
    found = facts_about(path)
    assert (found.error, found.format, found.fits_suffix) == (None, "PNG", False)


def test_a_blank_image_has_no_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "white.png"
    Image.new("RGB", (50, 50), "white").save(path)
    found = facts_about(path)
    assert found.blank
    assert (found.error, found.fingerprint, found.width) == (None, b"", 50)
    assert found.content


def test_the_stored_mode_is_told(tmp_path: Path) -> None:
    image(1).convert("CMYK").save(tmp_path / "cmyk.jpg")
    image(1).convert("L").save(tmp_path / "grey.png")
    image(1).convert("P").save(tmp_path / "palette.gif")
    found = {path.name: facts_about(path) for path in tmp_path.iterdir()}
    assert {name: (fact.mode, fact.error) for name, fact in found.items()} == {
        "cmyk.jpg": ("CMYK", None),
        "grey.png": ("L", None),
        "palette.gif": ("P", None),
    }


def test_width_and_height_are_those_of_the_image_as_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held upright
    image(1, size=(80, 30)).save(tmp_path / "turned.jpg", exif=exif)
    found = facts_about(tmp_path / "turned.jpg")
    assert (found.width, found.height) == (30, 80)


def test_a_large_file_tells_its_own_size_though_it_is_decoded_smaller(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.effect_noise((900, 700), 90).convert("RGB").save(path, quality=95)
    assert path.stat().st_size > facts.SMALL
    found = facts_about(path)
    assert (found.width, found.height, found.blank) == (900, 700, False)


@pytest.fixture
def many(tmp_path: Path) -> list[Path]:
    """More than two chunks, with faults at both ends of them."""
    paths = [tmp_path / f"{number}.png" for number in range(2 * CHUNK + 10)]
    for number, path in enumerate(paths):
        image(number, size=(20, 16)).save(path)
    paths[0].write_bytes(b"no image")
    paths[CHUNK - 1].unlink()
    Image.new("L", (40, 40)).save(paths[CHUNK])
    paths[-1].write_bytes(paths[3].read_bytes())
    return paths


def test_one_worker_and_several_processes_say_the_same_in_order(many: list[Path]) -> None:
    alone = list(examine(many, workers=1))
    assert alone == list(examine(many, workers=2))
    assert [n for n, fact in enumerate(alone) if fact.error] == [0, CHUNK - 1]
    assert [n for n, fact in enumerate(alone) if fact.blank] == [CHUNK]
    assert alone[-1] == alone[3]
    for number in (1, CHUNK + 1, len(many) - 2):
        assert alone[number].content == hashlib.sha256(many[number].read_bytes()).hexdigest()


def test_a_file_deleted_while_others_are_looked_at_is_named(many: list[Path]) -> None:
    found = []
    for fact in examine(many, workers=1):
        if not found:
            many[CHUNK + 5].unlink()  # of a later chunk
        found.append(fact)
    assert len(found) == len(many)
    assert "no such file" in str(found[CHUNK + 5].error)
    assert found[CHUNK + 6].error is None


def test_no_files_give_no_facts() -> None:
    assert list(examine([])) == []
