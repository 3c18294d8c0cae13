from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tlkit.backbones.features import compute_features, feature_key
from tlkit.store import features as module
from tlkit.store.bound import clear
from tlkit.store.features import FeatureKey, FeatureStore, SpareStore, Stored

KEY = FeatureKey("net", "weights", 224, 224, 1, (("stage1", 3), ("top", 5)))


def content(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def fill(root: Path, numbers: range, key: FeatureKey = KEY) -> FeatureStore:
    store = FeatureStore(key, root)
    store.add(rows(numbers))
    return store


def rows(numbers: range) -> list[tuple[bytes, Stored]]:
    prints = (bytes(16) if n % 3 == 0 else b"" if n % 3 == 1 else bytes([n % 256] * 16) for n in numbers)
    return [(content(n), Stored(v, p)) for n, v, p in zip(numbers, vectors(numbers), prints, strict=True)]


def same(stored: Stored | None, n: int) -> bool:
    expected = rows(range(n, n + 1))[0][1]
    return (
        stored is not None and stored.fingerprint == expected.fingerprint and (stored.vector == expected.vector).all()
    )


def vectors(numbers: range) -> np.ndarray:
    return np.stack([np.full(8, n + 0.25, dtype=np.float32) for n in numbers])


def test_rows_come_back_exactly_in_another_process_life(tmp_path: Path) -> None:
    fill(tmp_path, range(5)).close()
    again = FeatureStore(KEY, tmp_path)
    for n in range(5):
        assert same(again.get(content(n)), n)
    assert again.get(content(99)) is None


@pytest.mark.parametrize(
    "changed",
    [
        FeatureKey("other", "weights", 224, 224, 1, KEY.taps),
        FeatureKey("net", "other", 224, 224, 1, KEY.taps),
        FeatureKey("net", "weights", 192, 224, 1, KEY.taps),
        FeatureKey("net", "weights", 224, 224, 2, KEY.taps),
        FeatureKey("net", "weights", 224, 224, 1, (("stage1", 5), ("top", 3))),
    ],
)
def test_every_part_of_the_key_counts(tmp_path: Path, changed: FeatureKey) -> None:
    fill(tmp_path, range(3))
    assert FeatureStore(changed, tmp_path).get(content(1)) is None


def test_two_writers_at_once_keep_both(tmp_path: Path) -> None:
    one, two = FeatureStore(KEY, tmp_path), FeatureStore(KEY, tmp_path)
    one.add(rows(range(1, 2)))
    two.add(rows(range(1, 3)))
    both = FeatureStore(KEY, tmp_path)
    assert both.get(content(1)) is not None
    assert both.get(content(2)) is not None


@pytest.mark.parametrize("cut", [0, 1, 50, 127, 128, 200, -1])
def test_a_cut_shard_is_as_good_as_absent(tmp_path: Path, cut: int) -> None:
    fill(tmp_path, range(3))
    (shard,) = tmp_path.rglob("*.npy")
    shard.write_bytes(shard.read_bytes()[:cut])
    assert FeatureStore(KEY, tmp_path).get(content(1)) is None
    again = fill(tmp_path, range(3))
    assert FeatureStore(KEY, tmp_path).get(content(1)) is not None
    assert again.problem is None


def test_a_damaged_row_is_as_good_as_absent_and_the_others_stay(tmp_path: Path) -> None:
    fill(tmp_path, range(3))
    (shard,) = tmp_path.rglob("*.npy")
    data = bytearray(shard.read_bytes())
    data[-3] ^= 0x40  # inside the last row's vector
    shard.write_bytes(bytes(data))
    store = FeatureStore(KEY, tmp_path)
    assert store.get(content(2)) is None
    assert store.get(content(1)) is not None


@given(arrays(np.float32, 8, elements=st.floats(width=32, allow_nan=False)))
def test_what_was_rounded_comes_back_as_it_is(vector: np.ndarray) -> None:
    """So a run gives the same with and without the store; values beyond half precision become its largest."""
    kept = module.rounded(vector)
    assert kept.dtype == np.float32
    assert np.isfinite(kept).all()
    np.testing.assert_array_equal(kept.astype(module.DTYPE).astype(np.float32), kept)
    inside = np.abs(vector) <= np.finfo(module.DTYPE).max
    np.testing.assert_allclose(kept[inside], vector[inside], rtol=5e-4, atol=6e-8)


@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
def test_vectors_are_float32_whatever_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    usual = KEY.digest()
    monkeypatch.setattr(module, "DTYPE", dtype)
    assert (KEY.digest() == usual) == (dtype == "<f2")
    fill(tmp_path, range(3))
    (shard,) = tmp_path.rglob("*.npy")
    assert np.load(shard)["payload"].dtype == np.dtype(dtype)
    stored = FeatureStore(KEY, tmp_path).get(content(2))
    assert stored is not None
    assert stored.vector.dtype == np.float32
    assert same(stored, 2)  # its numbers are exact in both


def test_a_half_written_shard_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(file: object, array: np.ndarray) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(module.np, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, range(3))
    monkeypatch.undo()
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".npy", ".part")]


def test_killed_writers_leave_whole_rows_only(tmp_path: Path) -> None:
    program = (
        "import sys, itertools\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from test_features import FeatureStore, KEY, rows\n"
        "store = FeatureStore(KEY, Path(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "for n in itertools.count():\n"
        "    store.add(rows(range(n, n + 1)))\n"
    )
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        process.kill()
        process.wait()
        process.stdout.close()
    store = FeatureStore(KEY, tmp_path)
    assert len(store) > 0
    for n in range(len(store)):
        assert same(store.get(content(n)), n)


def test_many_shards_become_one(tmp_path: Path) -> None:
    store = FeatureStore(KEY, tmp_path)
    for n in range(40):
        store.add(rows(range(n, n + 1)))
    merged = FeatureStore(KEY, tmp_path)
    assert len(list(tmp_path.rglob("*.npy"))) == 1
    assert all(same(merged.get(content(n)), n) for n in range(40))


def test_the_least_recently_used_key_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [FeatureKey("net", f"weights{n}", 8, 8, 1, KEY.taps) for n in range(3)]
    for age, key in enumerate(keys):
        (shard,) = fill(tmp_path, range(100), key).folder.glob("*.npy")
        os.utime(shard, (1e9 - age * 1e6, 1e9 - age * 1e6))
    monkeypatch.setenv("TLKIT_CACHE_SIZE", f"{2.5 * shard.stat().st_size:.0f}B")
    oldest = FeatureStore(keys[2], tmp_path)
    assert oldest.get(content(1)) is not None
    oldest.close()
    left = {key.weights for key in keys if FeatureStore(key, tmp_path).get(content(1)) is not None}
    assert left == {"weights0", "weights2"}


def test_a_cache_that_cannot_be_written_costs_only_the_reuse(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file where the folder should be")
    store = fill(tmp_path, range(3))
    assert store.problem is not None
    assert "cannot be kept" in store.problem


class Means:
    """A backbone that gives the mean of each channel."""

    backbone, weights_hash, input_size, taps = SimpleNamespace(key="net", name="net"), "w", 16, (("top", 3),)

    def forward(self, workers: int | None = None) -> Any:
        return lambda pixels: pixels.reshape(len(pixels), -1, 3).astype(np.float32).mean(axis=1)


@pytest.mark.parametrize("long", [False, True])
def test_what_vanishes_between_asking_and_reading_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    """Another run may prune or clear the cache at any moment: that is no fault of the images."""
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number % 5).integers(0, 256, (20, 20, 3))  # one is a copy
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    extractor: Any = Means()

    def store() -> FeatureStore | SpareStore:
        key = feature_key(extractor)
        return SpareStore(key, len(paths), tmp_path / "spare") if long else FeatureStore(key)

    expected = compute_features(paths, extractor, store=store())
    assert len(expected.rows) == 6
    second, asked = store(), Counter[bytes]()
    get = FeatureStore.get

    def vanishing(self: FeatureStore, content: bytes) -> Stored | None:
        found = get(self, content)
        if found is not None and not asked:
            asked[content] += 1
            clear(tmp_path / "cache")
            self._records._mapped.clear()
        return found

    monkeypatch.setattr(FeatureStore, "get", vanishing)
    found = compute_features(paths, extractor, store=second)
    second.close()
    assert asked
    assert found.errors == {}
    assert found.contents == expected.contents
    assert found.prints == expected.prints
    np.testing.assert_array_equal(found.matrix, expected.matrix)
