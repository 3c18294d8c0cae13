from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tlkit.images import batches
from tlkit.images.batches import load_batches, load_images, read_file
from tlkit.images.read import UnreadableImage


def test_images_come_in_order_with_their_content_hash(files: list[Path]) -> None:
    files[3].write_text("no image")
    files[5].unlink()
    rows = list(load_images(files, (8, 6), ahead=4, workers=3))
    assert [row.index for row in rows] == list(range(20))
    for row in rows:
        if row.index in (3, 5):
            assert row.image is None
            assert row.error
        else:
            assert row.error is None
            assert row.image is not None
            assert row.image.pixels.shape == (8, 6, 3)
            assert row.content == hashlib.sha256(files[row.index].read_bytes()).digest()
            assert row.fingerprint == b""
    assert "no such file" in str(rows[5].error)


def test_unwanted_images_are_not_decoded(files: list[Path]) -> None:
    skip = hashlib.sha256(files[2].read_bytes()).digest()
    rows = list(load_images(files[:4], None, wanted=lambda content: content != skip, fingerprints=True))
    assert [row.image is None for row in rows] == [False, False, True, False]
    assert [len(row.fingerprint) for row in rows] == [16, 16, 0, 16]
    assert rows[2].error is None


def test_never_more_than_asked_are_ahead(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    started = 0
    lock = threading.Lock()
    real = batches.read_file

    def counting(path: Path) -> Any:
        nonlocal started
        with lock:
            started += 1
        return real(path)

    monkeypatch.setattr(batches, "read_file", counting)
    for taken, _ in enumerate(load_images(files, (4, 4), ahead=5)):
        assert started <= taken + 5


def test_a_failing_read_is_tried_once_more(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "RETRY_SECONDS", 0.01)
    real, calls = batches._hashed, []

    def flaky(path: Path) -> bytes:
        calls.append(path)
        if len(calls) == 1:
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(batches, "_hashed", flaky)
    assert read_file(files[0])[1] == files[0].read_bytes()
    assert len(calls) == 2

    def dead(path: Path) -> bytes:
        calls.append(path)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(batches, "_hashed", dead)
    with pytest.raises(UnreadableImage) as caught:
        read_file(files[0])
    assert caught.value.reason == "input/output error"
    assert len(calls) == 4


def test_a_pipe_named_like_a_image_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (row,) = load_images([tmp_path / "pipe.jpg"], None)
    assert row.error == "not a regular file"


def test_files_beyond_the_bound_are_refused(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_BYTES", 100)
    (row,) = load_images(files[:1], None)
    assert "too large" in str(row.error)


def test_an_abandoned_read_stops_its_threads(files: list[Path]) -> None:
    rows = load_images(files, (4, 4), ahead=3)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tlkit-read")]


def test_what_is_ready_comes_together_and_nothing_waits_for_the_rest(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first image is given out while the third is still being read; what piled up meanwhile comes at once."""
    go = threading.Event()
    read = batches.load_image

    def slow(path: Path, *arguments: object, **options: object) -> batches.Loaded:
        if path.name == "2.png":
            assert go.wait(10)
        return read(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(batches, "load_image", slow)
    groups = load_batches(files, (8, 6), 5, workers=2, ahead=12)
    first = [item.index for batch in (next(groups),) for item in batch]
    while len(first) < 2:
        first += [item.index for item in next(groups)]
    assert first == [0, 1]
    go.set()
    rest = [[item.index for item in batch] for batch in groups]
    assert [index for batch in rest for index in batch] == list(range(2, 20))
    assert max(map(len, rest)) <= 5


def test_a_file_whose_size_is_not_known_is_read_whole(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems say 0; a file may also grow while it is read."""
    real = os.fstat

    class Lying:
        st_size = 10

    monkeypatch.setattr(batches.os, "fstat", lambda number: Lying() if number > 2 else real(number))
    assert read_file(files[0])[1] == files[0].read_bytes()
