"""What a network drive does to the cache: stale handles, answers that are lost, names that two machines create."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlkit.api.work_dir import work_folder
from tlkit.errors import TlkitError
from tlkit.store import network
from tlkit.store import records as module
from tlkit.store.bound import prune
from tlkit.store.records import RecordStore
from tlkit.store.shards import Record, write_shard


def record(number: int) -> Record:
    return Record(np.full((6, 5), number, np.uint8), bytes([number]) * 16)


def rows(*numbers: int) -> list[tuple[bytes, Record]]:
    return [(hashlib.sha256(bytes([number])).digest(), record(number)) for number in numbers]


def store(root: Path) -> RecordStore:
    return RecordStore("images", "things-0123456789abcdef", "|u1", (6, 5), {"any": "note"}, root)


def same(found: Record | None, expected: Record) -> bool:
    return (
        found is not None
        and found.fingerprint == expected.fingerprint
        and np.array_equal(found.payload, expected.payload)
    )


@pytest.fixture(autouse=True)
def on_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_network", lambda folder: True)


def stale(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def test_rows_are_read_not_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numpy.memmap", stale)
    store(tmp_path).add(rows(1, 2, 3))
    found = store(tmp_path)
    assert all(same(found.get(content), its) for content, its in rows(1, 2, 3))
    assert found.get(rows(4)[0][0]) is None


def test_a_shard_that_another_machine_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handle is stale; the rows are missing, unless another shard has them too."""
    first = store(tmp_path)
    first.add(rows(1, 2))
    first.add(rows(2, 3))
    found = store(tmp_path)
    assert same(found.get(rows(1)[0][0]), record(1))
    real = os.pread
    # the number of a handle is used again once it is closed
    held = os.fstat(next(iter(found._mapped.values()))._descriptor).st_ino  # type: ignore[union-attr]
    monkeypatch.setattr(
        os, "pread", lambda handle, *rest: stale() if os.fstat(handle).st_ino == held else real(handle, *rest)
    )
    gone = next(file for file in found.folder.glob("*.npy") if file.name in found._mapped)
    gone.unlink()
    assert same(found.get(rows(2)[0][0]), record(2))
    kept = [number for number in (1, 3) if found.get(rows(number)[0][0]) is not None]
    assert kept == [3]


@pytest.mark.parametrize("lost", [True, False])
def test_a_rename_whose_answer_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if lost:
            real(path, target)
        raise FileNotFoundError(errno.ENOENT, "no such file")

    monkeypatch.setattr(Path, "rename", rename)
    shard = lambda: write_shard(tmp_path, rows(1), record(1).payload.dtype, record(1).payload.shape)  # noqa: E731
    if lost:
        assert shard().is_file()
    else:
        with pytest.raises(FileNotFoundError):
            shard()
    assert len([*tmp_path.iterdir()]) == lost


def test_two_machines_that_both_create_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Creating a file that must not exist yet is not atomic there: both succeed."""
    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode="r", **rest: real(path, mode.replace("x", "w"), **rest), raising=True
    )
    one, two = store(tmp_path), store(tmp_path)
    one.add(rows(1))
    two.add(rows(1, 2))
    assert (one.problem, two.problem) == (None, None)
    found = store(tmp_path)
    assert len(found) == 2
    assert len(prune(tmp_path, 0)) == 2
    assert not [*tmp_path.rglob("*.npy")]


@pytest.mark.parametrize(
    "call", ["open", "stat", "scandir", "utime", "unlink", "rename", "mkdir", "fsync", "pread", "rmdir", "lstat"]
)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_no_call_that_fails_gives_a_wrong_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    """From some call on, all fail as on a drive that is gone; later it is back."""
    first = store(tmp_path)
    for number in range(3):
        first.add(rows(number))
    left = [after]

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            left[0] -= 1
            return stale() if left[0] < 0 and str(tmp_path) in f"{given}{named}" else real(*given, **named)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(getattr(os, call)))
        patch.setattr(module, "is_network", lambda folder: True)
        found = store(tmp_path)
        for number in range(3):
            assert (its := found.get(rows(number)[0][0])) is None or same(its, record(number))
        found.add(rows(9))
        found.close()
    later = store(tmp_path)
    assert all(same(later.get(content), its) for content, its in rows(0, 1, 2))
    later.add(rows(7))
    assert same(store(tmp_path).get(rows(7)[0][0]), record(7))


@pytest.mark.parametrize("ours", [True, False])
def test_a_link_whose_answer_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: bool) -> None:
    real = os.link

    def link(part: Path, target: Path) -> None:
        if ours:
            real(part, target)
        else:
            target.write_text("another's")
        raise FileExistsError(errno.EEXIST, "exists")

    monkeypatch.setattr(os, "link", link)
    target = tmp_path / "rows.csv"
    with work_folder(target) as folder:
        folder.part.write_text("mine")
        if ours:
            folder.finish()
        else:
            with pytest.raises(TlkitError, match="output exists"):
                folder.finish()
    assert target.read_text() == ("mine" if ours else "another's")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_which_folders_are_on_network_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda rw\n"
        f"23 22 0:1 / {tmp_path}/my\\040share rw shared:1 - nfs4 server:/x rw\n"
        f"24 23 0:2 / {tmp_path}/my\\040share/local rw - tmpfs tmpfs rw\n"
        f"25 22 0:3 / {tmp_path}/bucket rw - fuse.s3fs s3fs rw\n"
    )
    monkeypatch.setattr(network, "MOUNTS", str(mounts))
    found = {name: network.is_network(tmp_path / name) for name in ("my share/a", "my share/local/a", "bucket", "b")}
    assert found == {"my share/a": True, "my share/local/a": False, "bucket": True, "b": False}
    mounts.write_text("nonsense\n")
    assert not network.is_network(tmp_path)
    monkeypatch.setattr(network, "MOUNTS", str(tmp_path / "none"))
    assert not network.is_network(tmp_path)
