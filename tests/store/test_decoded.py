from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import image

from tlkit.errors import TlkitError
from tlkit.images import batches
from tlkit.images.read import read_image
from tlkit.progress import Advance
from tlkit.store import decoded
from tlkit.store.decoded import decode_all

SIZE = (12, 10)


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every image that is decoded."""
    calls: list[int] = []
    real = batches.read_details

    def counting(*arguments: object, **options: object) -> object:
        calls.append(1)
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(batches, "read_details", counting)
    return calls


def straight(paths: list[Path]) -> np.ndarray:
    return np.stack([read_image(path, SIZE) for path in paths])


def test_later_epochs_decode_and_read_nothing(files: list[Path], tmp_path: Path, decodes: list[int]) -> None:
    expected = straight(files)
    decodes.clear()
    images = decode_all(files, SIZE, root=tmp_path / "cache")
    assert len(decodes) == 20
    for path in files:
        path.unlink()
    assert images.rows == tuple(range(20))
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(20).tolist()
        pixels = images.pixels(order)
        assert pixels.dtype == np.uint8
        assert (pixels == expected[order]).all()
    assert images.pixels([]).shape == (0, *SIZE, 3)
    assert len(decodes) == 20
    assert (images.reused, images.problem, images.errors) == (0, None, {})
    assert not images.memory


def test_the_next_run_decodes_only_what_is_new(tmp_path: Path, decodes: list[int]) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    paths = [folder / f"{n}.png" for n in range(1010)]
    for n, path in enumerate(paths):
        image(n, (6, 6)).save(path)
    with decode_all(paths[:1000], SIZE, root=tmp_path / "cache") as first:
        assert len(decodes) == 1000
        prints = first.prints
    decodes.clear()
    with decode_all(paths, SIZE, root=tmp_path / "cache") as second:
        assert len(decodes) == 10
        assert second.reused == 1000
        assert second.prints[:1000] == prints
        assert all(len(each) == 16 for each in second.prints)
        assert (second.pixels([3, 1005]) == straight([paths[3], paths[1005]])).all()
    shards = list((tmp_path / "cache" / "images").rglob("*.npy"))
    assert len(shards) == 5  # four of at most 256, then the new ones
    with decode_all(paths[:3], (10, 12), root=tmp_path / "cache") as other:
        assert other.reused == 0


def test_copies_are_decoded_once(files: list[Path], tmp_path: Path, decodes: list[int]) -> None:
    copies = [tmp_path / f"copy{n}.png" for n in range(30)]
    for copy in copies:
        shutil.copy(files[0], copy)
    images = decode_all([*copies, *files[:2]], SIZE, root=tmp_path / "cache", workers=8)
    assert len(decodes) == 2
    assert len(set(images.contents)) == 2
    assert len(set(images.prints[:31])) == 1
    assert (images.pixels(range(31)) == straight(files[:1])).all()
    assert images.reused == 0


def test_what_cannot_be_read_is_told(files: list[Path], tmp_path: Path) -> None:
    files[3].write_text("no image")
    files[4].write_text("no image")
    files[5].unlink()
    images = decode_all(files, SIZE, root=tmp_path / "cache")
    assert sorted(images.errors) == [3, 4, 5]
    assert images.errors[3] == images.errors[4]
    assert "no such file" in images.errors[5]
    assert images.rows == (0, 1, 2, *range(6, 20))
    assert all((each == "") == (index in (3, 4, 5)) for index, each in enumerate(images.contents))
    assert all((each == b"") == (index in (3, 4, 5)) for index, each in enumerate(images.prints))
    for wrong in (3, 5, 20, -1):
        with pytest.raises(ValueError, match="rows"):
            images.pixels([0, wrong])


def damage(root: Path) -> None:
    (shard,) = root.rglob("*.npy")
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1  # in the last image
    shard.write_bytes(data)


def test_a_damaged_row_is_decoded_again_and_kept(files: list[Path], tmp_path: Path, decodes: list[int]) -> None:
    root = tmp_path / "cache"
    images = decode_all(files, SIZE, root=root)
    decodes.clear()
    damage(root)
    expected = straight(files)
    for _ in range(3):
        assert (images.pixels(range(20)) == expected).all()
    assert len(decodes) == 1
    images.close()
    decodes.clear()
    assert decode_all(files, SIZE, root=root).reused == 20
    assert not decodes


def test_a_damaged_row_of_a_changed_file_is_an_error(files: list[Path], tmp_path: Path) -> None:
    images = decode_all(files, SIZE, root=tmp_path / "cache", workers=1)
    damage(tmp_path / "cache")
    image(99).save(files[19])
    with pytest.raises(TlkitError, match="changed during the run"):
        images.pixels(range(20))
    files[19].unlink()
    with pytest.raises(TlkitError, match="again: no such file"):
        images.pixels([19])
    assert images.pixels(range(19)).shape[0] == 19


def test_removed_shards_are_decoded_again(files: list[Path], tmp_path: Path, decodes: list[int]) -> None:
    images = decode_all(files, SIZE, root=tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    decodes.clear()
    assert (images.pixels(range(20)) == straight(files)).all()
    assert (images.pixels(range(20)) == straight(files)).all()
    assert len(decodes) == 20


def test_a_cache_that_cannot_be_written_is_replaced_by_memory(
    files: list[Path], tmp_path: Path, decodes: list[int]
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    expected = straight(files)
    images = decode_all(files, SIZE, root=tmp_path / "cache")
    assert images.problem is not None
    assert "cannot be kept" in images.problem
    for path in files:
        path.unlink()
    assert (images.pixels(range(20)) == expected).all()
    assert len(decodes) == 20
    images.close()
    assert not images.memory


def test_where_files_cannot_be_mapped_memory_is_used(
    files: list[Path], tmp_path: Path, decodes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(19, "No such device")

    expected = straight(files)
    monkeypatch.setattr(np, "memmap", refused)
    images = decode_all(files, SIZE, root=tmp_path / "cache")
    decodes.clear()
    for _ in range(3):
        assert (images.pixels(range(20)) == expected).all()
    assert len(decodes) == 20


def test_an_interrupted_run_loses_at_most_a_shard(
    files: list[Path], tmp_path: Path, decodes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "KEEP_EVERY", 4)

    class Killed:
        """Stops everything at the tenth image, without a chance to tidy up."""

        @contextmanager
        def phase(self, title: str, total: int | None) -> Iterator[Advance]:
            assert (title, total) == ("Decoding", 20)
            done: list[int] = []

            def advance(steps: int) -> None:
                done.append(steps)
                if len(done) == 10:
                    monkeypatch.setattr(decoded, "_keep", lambda *_: None)
                    raise KeyboardInterrupt

            yield advance

        def note(self, message: str) -> None:
            raise AssertionError(message)

    real = decoded._keep
    with pytest.raises(KeyboardInterrupt):
        decode_all(files, SIZE, root=tmp_path / "cache", workers=1, progress=Killed())
    monkeypatch.setattr(decoded, "_keep", real)
    decodes.clear()
    assert decode_all(files, SIZE, root=tmp_path / "cache").reused == 8
    assert len(decodes) == 12


def test_large_images_make_shards_of_fewer(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "SHARD_BYTES", 7 * SIZE[0] * SIZE[1] * 3 + 1)
    decode_all(files, SIZE, root=tmp_path / "cache")
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 3


def test_threads_may_ask_at_once(files: list[Path], tmp_path: Path) -> None:
    images = decode_all(files, SIZE, root=tmp_path / "cache")
    expected = straight(files)
    right: list[bool] = []

    def ask(seed: int) -> None:
        for _ in range(20):
            order = np.random.default_rng(seed).permutation(20).tolist()
            right.append(bool((images.pixels(order) == expected[order]).all()))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 80


def test_closed_is_closed(files: list[Path], tmp_path: Path) -> None:
    with decode_all(files[:2], SIZE, root=tmp_path / "cache") as images:
        assert images.pixels([1]).shape == (1, *SIZE, 3)
    images.close()
    with pytest.raises(ValueError, match="closed"):
        images.pixels([1])
