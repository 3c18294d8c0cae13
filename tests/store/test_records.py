from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tlkit.store import records as module
from tlkit.store import shards
from tlkit.store.bound import clear, entries, prune
from tlkit.store.marker import MARKER
from tlkit.store.records import RecordStore
from tlkit.store.shards import DamagedError, Record, open_shard, rows_in

NAME = "things-0123456789abcdef"
SHAPE = (6, 5)


def content(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def record(number: int) -> Record:
    rng = np.random.default_rng(number)
    prints = (b"", bytes(16), bytes([number % 256]) * 16, b"ab\0")
    return Record(rng.integers(0, 256, SHAPE, dtype=np.uint8), prints[number % 4])


def rows(*numbers: int) -> list[tuple[bytes, Record]]:
    return [(content(n), record(n)) for n in numbers]


def store(root: Path, section: str = "images") -> RecordStore:
    return RecordStore(section, NAME, "|u1", SHAPE, {"any": "note"}, root)


def same(found: Record | None, expected: Record) -> bool:
    return (
        found is not None
        and found.fingerprint == expected.fingerprint
        and found.payload.dtype == expected.payload.dtype
        and found.payload.shape == expected.payload.shape
        and found.payload.tobytes() == expected.payload.tobytes()
    )


def shard_files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.npy"))


@given(st.data())
def test_whatever_is_kept_comes_back_exactly(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(["|u1", "<f4", "<f2", "<i8", ">u2", "|b1"])))
    shape = data.draw(arrays.array_shapes(min_dims=0, max_dims=3, max_side=5))
    payloads = data.draw(st.lists(arrays.arrays(dtype, shape), min_size=1, max_size=6))
    prints = data.draw(st.lists(st.binary(max_size=16), min_size=len(payloads), max_size=len(payloads)))
    kept = [(content(n), Record(*each)) for n, each in enumerate(zip(payloads, prints, strict=True))]
    with tempfile.TemporaryDirectory() as folder:
        one = RecordStore("features", NAME, dtype.str, shape, None, Path(folder))
        one.add(kept)
        for each in (RecordStore("features", NAME, dtype.str, shape, None, Path(folder)), one):
            each.refresh()
            assert len(each) == len(kept)
            assert all(same(each.get(key), expected) for key, expected in kept)
        (file,) = shard_files(Path(folder))
        assert rows_in(file) == len(kept)
        known = np.load(file)["payload"]  # a file that numpy knows
        assert known.tobytes() == np.stack(payloads).astype(dtype).tobytes()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.lists(st.integers(0, 30), min_size=1, max_size=5)),
            st.tuples(st.just("reopen"), st.none()),
            st.tuples(st.just("close"), st.none()),
            st.tuples(st.just("prune"), st.integers(0, 3000)),
        ),
        max_size=25,
    )
)
def test_in_any_order_rows_are_right_and_only_pruning_loses_them(steps: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MERGE_ABOVE", 2)
        patch.setattr(module, "MAX_MAPPED", 2)
        root = Path(folder)
        one, sure = store(root), set()
        for step, value in steps:
            if step == "add":
                one.add(rows(*value))
                sure.update(value)
            elif step == "prune":
                prune(root, value)
                sure.clear()  # which ones stay is another test's
                files = [file for file in root.rglob("*") if file.is_file() and file.name != MARKER]
                assert sum(file.stat().st_size for file in files) <= value
            else:
                if step == "close":
                    one.close()
                one = store(root)
            one.refresh()
            for n in range(31):
                found = one.get(content(n))
                assert same(found, record(n)) or (found is None and n not in sure)
        assert one.problem is None


def test_a_folder_from_before_there_were_markers_is_told_by_what_is_in_it(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.add(rows(0))
    (one.folder / MARKER).unlink()
    assert entries(tmp_path) == []
    assert same(store(tmp_path).get(content(0)), record(0))
    assert [entry.path for entry in entries(tmp_path)] == [one.folder]


def test_files_of_the_users_are_never_removed(tmp_path: Path) -> None:
    folder = tmp_path / "images" / NAME
    folder.mkdir(parents=True)
    for name in ("mine.npy", f"{0:032x}.npy"):
        (folder / name).write_bytes(b"no shard")
    one = store(tmp_path)
    one.close()
    assert len(list(folder.iterdir())) == 2
    one.add(rows(0))  # tlkit's from now on, but for what has another name
    store(tmp_path).close()
    clear(tmp_path)
    assert {file.name for file in folder.iterdir()} == {"mine.npy", "key.json", MARKER}


def test_wrong_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        store(tmp_path).add([(b"short", record(0))])
    with pytest.raises(ValueError, match="at most 16"):
        store(tmp_path).add([(content(0), Record(record(0).payload, bytes(17)))])


@pytest.mark.parametrize("field", ["content", "crc", "print", "payload"])
def test_a_changed_byte_costs_its_row_only(tmp_path: Path, field: str) -> None:
    store(tmp_path).add(rows(0, 1, 2))
    (file,) = shard_files(tmp_path)
    layout = np.load(file).dtype
    offset = file.stat().st_size - layout.itemsize + layout.fields[field][1] + layout[field].itemsize // 3
    data = bytearray(file.read_bytes())
    data[offset] ^= 0x10  # in the second of three rows
    file.write_bytes(data)
    one = store(tmp_path)
    assert one.get(content(1)) is None
    assert same(one.get(content(0)), record(0))
    assert same(one.get(content(2)), record(2))
    assert one.get(content(1)) is None
    one.add(rows(1))
    assert same(store(tmp_path).get(content(1)), record(1))  # whichever of the two files is looked at first


def test_any_changed_byte_gives_no_wrong_row(tmp_path: Path) -> None:
    store(tmp_path).add(rows(0, 1))
    (file,) = shard_files(tmp_path)
    good = file.read_bytes()
    lost = 0
    for place in range(len(good)):
        file.write_bytes(good[:place] + bytes([good[place] ^ 0x41]) + good[place + 1 :])
        one = store(tmp_path)
        found = [one.get(content(n)) for n in (0, 1)]
        assert all(each is None or same(each, record(n)) for n, each in enumerate(found))
        lost += None in found
    assert lost > 0.7 * len(good)  # the rest is padding of the header


@pytest.mark.parametrize("part", [0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_cut_shard_is_as_good_as_absent(tmp_path: Path, part: float) -> None:
    store(tmp_path).add(rows(0, 1))
    (file,) = shard_files(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[: int(part * len(data))])
    one = store(tmp_path)
    assert one.get(content(0)) is None
    assert not file.exists()
    one.add(rows(0, 1))
    one.refresh()
    assert same(one.get(content(0)), record(0))


def test_another_layout_is_no_shard_of_this_store(tmp_path: Path) -> None:
    store(tmp_path).add(rows(0))
    (file,) = shard_files(tmp_path)
    assert len(open_shard(file, np.dtype("|u1"), SHAPE)) == 1
    for dtype, shape in (("|i1", SHAPE), ("|u1", (5, 6)), ("|u1", (3, 5)), ("<u2", SHAPE)):
        with pytest.raises(DamagedError):
            open_shard(file, np.dtype(dtype), shape)
    np.save(tmp_path / "other.npy", np.zeros(5))
    with pytest.raises(DamagedError):
        open_shard(tmp_path / "other.npy", np.dtype("|u1"), SHAPE)
    assert rows_in(tmp_path / "other.npy") == rows_in(tmp_path / "none.npy") == 0


def test_a_checksum_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path).add(rows(0, 1))
    one, calls = store(tmp_path), []
    real = shards._checksum
    monkeypatch.setattr(shards, "_checksum", lambda *each: calls.append(each) or real(*each))
    for n in (0, 0, 1, 0, 1):
        assert same(one.get(content(n)), record(n))
    assert len(calls) == 2


def test_a_file_that_cannot_be_opened_just_now_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path).add(rows(0))
    with monkeypatch.context() as patch:

        def refused(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        patch.setattr(module, "open_shard", refused)
        assert len(store(tmp_path)) == 0
    assert same(store(tmp_path).get(content(0)), record(0))


def test_files_that_cannot_be_mapped_are_as_good_as_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path).add(rows(0))

    def refused(*_: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    with monkeypatch.context() as patch:
        patch.setattr(shards.np, "memmap", refused)
        assert store(tmp_path).get(content(0)) is None
    assert same(store(tmp_path).get(content(0)), record(0))


def test_many_small_shards_become_one(tmp_path: Path) -> None:
    one = store(tmp_path)
    for n in range(40):
        one.add(rows(n, n + 1))
    merged = store(tmp_path)
    assert len(shard_files(tmp_path)) == 1
    assert len(merged) == 41
    assert all(same(merged.get(content(n)), record(n)) for n in range(41))


def test_a_store_opened_before_a_merge_finds_the_rows_after_it(tmp_path: Path) -> None:
    writer = store(tmp_path)
    for n in range(40):
        writer.add(rows(n))
        if n == 20:
            early = store(tmp_path)  # has mapped nothing yet
    store(tmp_path)
    assert len(shard_files(tmp_path)) == 1
    assert all(same(early.get(content(n)), record(n)) for n in range(40))


def test_large_shards_are_not_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(np.zeros(SHAPE, np.uint8).tobytes())
    monkeypatch.setattr(module, "SMALL_BYTES", 20 * size)
    monkeypatch.setattr(module, "SHARD_BYTES", 100 * size)
    monkeypatch.setattr(module, "MERGE_ABOVE", 5)
    one = store(tmp_path)
    one.add(rows(*range(30)))
    (large,) = shard_files(tmp_path)
    before = large.stat().st_mtime_ns
    for n in range(30, 50):
        one.add(rows(n))
    merged = store(tmp_path)
    assert large.stat().st_mtime_ns == before
    assert 2 < len(shard_files(tmp_path)) < 20
    assert all(file.stat().st_size <= 100 * size for file in shard_files(tmp_path))
    assert all(same(merged.get(content(n)), record(n)) for n in range(50))


def test_merging_leaves_damaged_rows_out_and_keeps_the_age(tmp_path: Path) -> None:
    one = store(tmp_path)
    for n in range(40):
        one.add(rows(n))
    for file in shard_files(tmp_path):
        os.utime(file, (1e9, 1e9))
    damaged = shard_files(tmp_path)[7]
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    os.utime(damaged, (1e9, 1e9))
    merged = store(tmp_path)
    found = [merged.get(content(n)) for n in range(40)]
    assert [each is None for each in found].count(True) == 1
    assert all(each is None or same(each, record(n)) for n, each in enumerate(found))
    (file,) = shard_files(tmp_path)
    assert file.stat().st_mtime == 1e9


def test_more_shards_than_are_mapped_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MAPPED", 3)
    one = store(tmp_path)
    for n in range(12):
        one.add(rows(n))
    one.refresh()
    for _ in range(2):
        assert all(same(one.get(content(n)), record(n)) for n in range(12))
    assert len(one._mapped) == 3


def test_what_is_used_stays_and_what_is_not_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = store(tmp_path)
    for n in range(6):
        before = set(shard_files(tmp_path))
        one.add(rows(n))
        (file,) = set(shard_files(tmp_path)) - before
        os.utime(file, (1e9 + n, 1e9 + n))
    size = file.stat().st_size
    monkeypatch.setenv("TLKIT_CACHE_SIZE", f"{4 * size + 200}B")
    reader = store(tmp_path)
    assert reader.get(content(1)) is not None
    reader.close()
    left = store(tmp_path)
    assert [n for n in range(6) if left.get(content(n))] == [1, 3, 4, 5]


def test_a_key_larger_than_the_bound_loses_its_oldest_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = store(tmp_path)
    for n in range(6):
        one.add(rows(n))
        time.sleep(0.002)
    monkeypatch.setenv("TLKIT_CACHE_SIZE", f"{3 * shard_files(tmp_path)[0].stat().st_size + 200}B")
    one.close()
    left = store(tmp_path)
    assert [n for n in range(6) if left.get(content(n))] == [3, 4, 5]
    monkeypatch.setenv("TLKIT_CACHE_SIZE", "0")
    left.close()
    assert not one.folder.exists()


def test_a_folder_taken_away_by_another_process_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = store(tmp_path)
    real, calls = module.write_shard, []

    def swept(folder: Path, *rest: Any) -> Path:
        calls.append(folder)
        if len(calls) == 1:
            prune(tmp_path, 0)
            assert not folder.exists()
        return real(folder, *rest)

    monkeypatch.setattr(module, "write_shard", swept)
    one.add(rows(0))
    assert one.problem is None
    assert same(store(tmp_path).get(content(0)), record(0))


def test_a_full_disk_costs_only_the_reuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = store(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    one.add(rows(0))
    assert one.problem == f"images cannot be kept: No space left on device ({tmp_path / 'images'})"
    assert {file.name for file in one.folder.iterdir()} == {MARKER, "key.json"}


PROGRAM = """
import sys, itertools
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import tlkit.store.records as module
from test_records import store, rows, record, content, same
module.MERGE_ABOVE = 3
root, start, count = Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
one = store(root)
print("ready", flush=True)
sys.stdin.readline()
for n in range(start, start + count):
    one.add(rows(n, n + 1))
    if n % 5 == 0:
        one = store(root)  # merges
    assert one.problem is None, one.problem
one.refresh()
bad = [n for n in range(start, start + count) if not same(one.get(content(n)), record(n))]
assert not bad, bad
one.close()
"""


def writer(root: Path, start: int, count: int) -> subprocess.Popen[bytes]:
    here = str(Path(__file__).parent)
    arguments = [sys.executable, "-c", PROGRAM, str(root), here, str(start), str(count)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_two_processes_adding_and_merging_at_once_lose_nothing(tmp_path: Path) -> None:
    both = [writer(tmp_path, start, 60) for start in (0, 40)]  # some rows are written by both
    for process in both:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    after = store(tmp_path)
    assert all(same(after.get(content(n)), record(n)) for n in range(101))
    assert not list(tmp_path.rglob("*.part"))


def test_killed_at_random_moments_whole_rows_stay(tmp_path: Path) -> None:
    waits = np.random.default_rng(0).uniform(0.005, 0.12, 6)
    reached = 0
    for wait in waits:
        process = writer(tmp_path, reached, 100_000)
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(float(wait))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        after = store(tmp_path)
        kept = [n for n in range(reached + 100_000) if content(n) in after._rows]
        assert len(kept) == len(after) >= reached
        assert kept == list(range(len(kept)))  # added in this order, and what was whole stays
        assert all(same(after.get(content(n)), record(n)) for n in kept)
        reached = max(0, len(kept) - 1)
    assert reached > 20
