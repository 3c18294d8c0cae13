from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tlkit.errors import TlkitError
from tlkit.store import bound as module
from tlkit.store.bound import cache_folder, cache_limit, clear, entries, prune
from tlkit.store.marker import MARKER, make_entry, unfinished


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("500MB", 500_000_000), ("1.5 GB", 1_500_000_000), ("2g", 2_000_000_000), ("3KiB", 3000), ("99 B", 99)],
)
def test_sizes(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("TLKIT_CACHE_SIZE", text)
    assert cache_limit() == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1 XB", "1 iB"])
def test_what_is_no_size_is_said(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TLKIT_CACHE_SIZE", text)
    with pytest.raises(TlkitError, match="TLKIT_CACHE_SIZE"):
        cache_limit()


@pytest.mark.parametrize("text", ["4", "0.5", " 500 "])
def test_a_size_without_a_unit_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """It would be bytes, and nothing would be kept."""
    monkeypatch.setenv("TLKIT_CACHE_SIZE", text)
    with pytest.raises(TlkitError, match="requires a unit") as refused:
        cache_limit()
    assert f"{text.strip()}GB" in str(refused.value.hint)


def test_the_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def shard(root: Path, section: str, entry: str, age: int, size: int = 100, suffix: str = ".npy") -> Path:
    """A file of an entry, last used ``age`` hours ago."""
    folder = root / section / f"{entry}-0123456789abcdef"
    make_entry(folder)
    number = len(list(folder.iterdir()))
    return aged(folder / f"{number:032x}{suffix}", age, size)


def aged(path: Path, age: int, size: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return old(path, age)


def old(path: Path, age: int) -> Path:
    when = time.time() - 3600 * age
    os.utime(path, (when, when))
    return path


def network(root: Path, name: str, age: int, size: int = 100) -> Path:
    entry = root / "networks" / name
    folder = unfinished(entry) if name.endswith(".part") else entry
    make_entry(entry, folder)
    aged(folder / "network.tflite", age, size // 2)
    aged(folder / "key.json", age, size - size // 2)
    return old(folder, age)


def files(root: Path) -> set[str]:
    """All files but for the markers, whose folders are looked at instead."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() and path.name != MARKER}


def test_the_least_recently_used_goes_first_in_all_sections_together(tmp_path: Path) -> None:
    ages = [
        shard(tmp_path, "features", "a", 9),
        network(tmp_path, "net-0011223344556677", 8),
        shard(tmp_path, "images", "b", 7),
        shard(tmp_path, "features", "a", 6),
        network(tmp_path, "net-8899aabbccddeeff", 5),
        shard(tmp_path, "images", "b", 4),
    ]
    assert sum(entry.bytes for entry in entries(tmp_path)) == 600
    assert prune(tmp_path, 600) == []
    for left in range(5, -1, -1):
        assert prune(tmp_path, 100 * left + 99) == [ages[5 - left]]
        assert [path.exists() for path in ages] == [False] * (6 - left) + [True] * left
    assert files(tmp_path) == set()


def test_notes_count_and_go_with_the_last_shard(tmp_path: Path) -> None:
    one, two = shard(tmp_path, "features", "a", 2), shard(tmp_path, "features", "a", 1)
    aged(one.with_name("key.json"), 3, 50)
    assert prune(tmp_path, 249) == [one]
    assert files(tmp_path) == {str(two.relative_to(tmp_path)), str(two.with_name("key.json").relative_to(tmp_path))}
    assert prune(tmp_path, 0) == [two]
    assert not one.parent.exists()


def test_what_was_left_half_written_goes_after_an_hour(tmp_path: Path) -> None:
    stays = shard(tmp_path, "features", "a", 99)
    dead = shard(tmp_path, "features", "a", 2, suffix=".part")
    alive = shard(tmp_path, "features", "a", 0, suffix=".part")
    lone = shard(tmp_path, "images", "b", 2, suffix=".part")
    dead_network = network(tmp_path, "0123456789abcdef.part", 2)
    alive_network = network(tmp_path, "fedcba9876543210.part", 0)
    make_entry(tmp_path / "features" / "empty-0123456789abcdef")
    assert prune(tmp_path, 10**9) == []
    assert stays.exists()
    assert alive.exists()
    assert alive_network.exists()
    assert not dead.exists()
    assert not dead_network.exists()
    assert not lone.parent.exists()
    assert {folder.name for folder in (tmp_path / "features").iterdir()} == {stays.parent.name, MARKER}


def strangers(root: Path) -> set[str]:
    """Files that are not tlkit's, in and below the places where it keeps its own."""
    aged(root / "other" / "file", 9)
    aged(root / "file", 9)
    aged(root / "images" / "holiday.jpg", 9)
    aged(root / "images" / "summer" / "holiday.jpg", 9)
    aged(root / "images" / "summer" / f"{0:032x}.npy", 9)
    aged(root / "features" / "a-0123456789abcdef" / "mine.npy", 9)
    aged(root / "features" / "a-0123456789abcdef" / "deeper" / f"{0:032x}.npy", 9)
    aged(root / "networks" / "lan" / "plan.pdf", 9)
    aged(root / "networks" / "file", 9)
    for section in ("features", "images", "maps", "networks"):
        for name in ("backup-20240115", "run-20240115", "0123456789abcdef01234567", "old.part"):
            aged(root / section / name / "key.json", 9)
            aged(root / section / name / f"{1:032x}.npy", 9)
            aged(root / section / name / f"{2:032x}.part", 9)
            aged(root / section / name / "network.tflite", 9)
            old(root / section / name, 9)
    aged(root / "networks" / f"{3:032x}.part" / "network.tflite", 9)
    old(root / "networks" / f"{3:032x}.part", 9)
    (root / "maps" / "empty-0123456789abcdef").mkdir()
    copy = network(root, "net-0011223344556677", 9).rename(root / "networks" / "copy-0011223344556677")
    aged(network(root, "mixed-0011223344556677", 9) / "mine.txt", 9)
    assert copy.is_dir()
    return files(root) - {f"networks/mixed-0011223344556677/{name}" for name in ("network.tflite", "key.json")}


def test_only_tlkits_own_files_are_removed(tmp_path: Path) -> None:
    before = strangers(tmp_path)
    for remove in (lambda: prune(tmp_path, 0), lambda: clear(tmp_path)):
        shard(tmp_path, "features", "a", 1)
        shard(tmp_path, "images", "b", 1)
        network(tmp_path, "net-0011223344556677", 1)
        remove()
        assert files(tmp_path) == before
        assert (tmp_path / "maps" / "empty-0123456789abcdef").is_dir()


def test_empty_folders_of_the_users_stay(tmp_path: Path) -> None:
    for name in ("images", "networks"):
        (tmp_path / name).mkdir()
    shard(tmp_path, "features", "a", 1)
    shard(tmp_path, "images", "a", 1)
    clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"images", "networks"}


def test_a_marker_that_is_a_link_or_names_another_folder_is_none(tmp_path: Path) -> None:
    real = shard(tmp_path, "features", "a", 9)
    other = tmp_path / "features" / "b-0123456789abcdef"
    for text in (b"", b"something of the user's", (real.parent / MARKER).read_bytes()):
        aged(other / real.name, 9)
        (other / MARKER).write_bytes(text)
        prune(tmp_path, 0)
        clear(tmp_path)
        assert (other / real.name).exists()
    linked = shard(tmp_path, "features", "c", 9)
    (linked.parent / MARKER).rename(tmp_path / "marker")
    (linked.parent / MARKER).symlink_to(tmp_path / "marker")
    clear(tmp_path)
    assert linked.exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "cache", tmp_path / "outside"
    there = [shard(outside, "features", "a", 9), network(outside, "net-0011223344556677", 9)]
    inner = shard(root, "features", "b", 1)
    link = inner.parent / f"{7:032x}.npy"
    link.symlink_to(there[0])  # a shard, an entry and a section
    (root / "features" / "a-0123456789abcdef").symlink_to(there[0].parent)
    (root / "networks").symlink_to(outside / "networks")
    for remove in (lambda: prune(root, 0), lambda: clear(root)):
        remove()
        assert all(path.exists() for path in there)
        assert link.is_symlink()
    assert not inner.exists()
    (root / "networks").unlink()
    own = network(root, "own-0011223344556677", 1)
    (own / "link").symlink_to(outside)  # the user's
    clear(root)
    assert [path.name for path in own.iterdir()] == ["link"]
    assert all(path.exists() for path in there)


def test_clearing_tells_the_bytes(tmp_path: Path) -> None:
    note = aged(shard(tmp_path, "features", "a", 1).with_name("key.json"), 1, 11)
    shard(tmp_path, "images", "b", 0, 1000, suffix=".part")
    network(tmp_path, "net-0011223344556677", 1, 7)
    assert clear(tmp_path) == 1118
    assert not note.exists()
    assert list(tmp_path.iterdir()) == []
    assert clear(tmp_path) == 0


def test_what_is_in_use_or_gone_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked, gone = shard(tmp_path, "features", "a", 3), shard(tmp_path, "features", "a", 2)
    busy, free = network(tmp_path, "net-0011223344556677", 4), shard(tmp_path, "images", "b", 1)
    unlink, rename = Path.unlink, Path.rename

    def refusing(path: Path, missing_ok: bool = False) -> None:
        if path == locked:
            raise PermissionError(13, "used by another process")
        unlink(path, missing_ok)
        if path == gone:  # another process was faster
            raise FileNotFoundError(2, "no such file")

    def busy_rename(path: Path, target: Path) -> Path:
        if path == busy:
            raise PermissionError(13, "used by another process")
        return rename(path, target)

    monkeypatch.setattr(Path, "unlink", refusing)
    monkeypatch.setattr(Path, "rename", busy_rename)
    assert prune(tmp_path, 0) == [gone, free]
    assert locked.exists()
    assert busy.exists()


def test_entries_that_vanish_meanwhile_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard(tmp_path, "features", "a", 1)
    kept = shard(tmp_path, "images", "b", 1)
    real = module.is_entry

    def vanishing(folder: Path) -> bool:
        is_entry = real(folder)
        if folder.parent.name == "features":
            shutil.rmtree(folder)
        return is_entry

    monkeypatch.setattr(module, "is_entry", vanishing)
    assert [entry.path for entry in entries(tmp_path) if entry.bytes] == [kept.parent]


def test_a_backup_beside_tlkits_own_stays(tmp_path: Path) -> None:
    for section in ("networks", "features"):
        aged(tmp_path / section / "backup-20240115" / f"{0:032x}.npy", 9)
    prune(tmp_path, 0)
    clear(tmp_path)
    assert len(files(tmp_path)) == 2
