from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran

from tlkit.api import cache as api
from tlkit.errors import TlkitError
from tlkit.store.decoded import image_store
from tlkit.store.marker import MARKER, make_entry
from tlkit.store.shards import Record

Tlkit = Callable[..., Ran]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache with three images in two shards, a network, and a file that is not tlkit's."""
    root = tmp_path / "cache"
    store = image_store((4, 5), root)
    for numbers in ((0, 1), (2,)):
        store.add([(bytes([n]) * 32, Record(np.full((4, 5, 3), n, np.uint8))) for n in numbers])
    store.close()
    network = root / "networks" / "lite0-0123456789abcdef"
    make_entry(network)
    (network / "network.tflite").write_bytes(bytes(1_500_000))
    os.utime(network, (1e9, 1e9))
    (root / "mine.txt").write_text("mine")
    return root


def on_disk(root: Path) -> int:
    files = (file for file in root.rglob("*") if file.is_file() and file.name not in ("mine.txt", MARKER))
    return sum(file.stat().st_size for file in files)


def test_a_table_says_what_is_kept(tlkit: Tlkit, root: Path) -> None:
    ran = tlkit("cache", env={"TLKIT_CACHE": str(root), "TLKIT_CACHE_SIZE": "2GB", "TZ": "UTC"})
    assert (ran.code, ran.err) == (0, "")
    first, _, heading, *rows = ran.out.splitlines()
    assert first == f"{root}: 1.5 MB of 2 GB"
    assert heading.split() == ["section", "name", "images", "size", "last", "used"]
    assert [row.split()[0] for row in rows] == ["images", "networks"]
    assert rows[0].split()[1].startswith("4x5-")
    assert rows[0].split()[2] == "3"
    assert rows[1].split() == ["networks", "lite0-0123456789abcdef", "-", "1.5", "MB", "2001-09-09", "01:46"]


def test_json_is_one_document(tlkit: Tlkit, root: Path) -> None:
    ran = tlkit("cache", "--json", env={"TLKIT_CACHE": str(root), "TLKIT_CACHE_SIZE": "2GB"})
    assert ran.out.count("\n") == 1
    assert ran.json["folder"] == str(root)
    assert ran.json["limit"] == 2_000_000_000
    assert ran.json["bytes"] == on_disk(root) == sum(entry["bytes"] for entry in ran.json["entries"])
    images, network = ran.json["entries"]
    assert (images["section"], images["items"]) == ("images", 3)
    assert network == {
        "section": "networks",
        "name": "lite0-0123456789abcdef",
        "bytes": 1_500_000,
        "items": None,
        "used": "2001-09-09T01:46:40+00:00",
    }


def test_clear_removes_all_of_it_and_nothing_else(tlkit: Tlkit, root: Path) -> None:
    ran = tlkit("cache", "--clear", env={"TLKIT_CACHE": str(root)})
    assert (ran.code, ran.out, ran.err) == (0, f"freed 1.5 MB in {root}\n", "")
    assert [path.name for path in root.iterdir()] == ["mine.txt"]
    again = tlkit("cache", "--clear", "--json", env={"TLKIT_CACHE": str(root)})
    assert again.json == {"folder": str(root), "freed": 0, "left": 0}


def test_clear_as_json_says_the_bytes(tlkit: Tlkit, root: Path) -> None:
    size = on_disk(root)
    ran = tlkit("cache", "--clear", "--json", env={"TLKIT_CACHE": str(root)})
    assert ran.json == {"folder": str(root), "freed": size, "left": 0}
    assert ran.out.count("\n") == 1


def test_nothing_yet_is_said(tlkit: Tlkit, tmp_path: Path) -> None:
    ran = tlkit("cache", env={"TLKIT_CACHE": str(tmp_path / "none")})
    assert (ran.code, ran.out) == (0, f"the cache is empty: {tmp_path / 'none'}\n")
    assert tlkit("cache", "--json", env={"TLKIT_CACHE": str(tmp_path / "none")}).json["entries"] == []
    assert tlkit("cache", "--clear", env={"TLKIT_CACHE": str(tmp_path / "none")}).code == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("arguments", [[], ["--clear"], ["--json"]])
def test_a_file_for_a_folder_is_one_line_and_a_hint(tlkit: Tlkit, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "file").write_text("a file")
    ran = tlkit("cache", *arguments, env={"TLKIT_CACHE": str(tmp_path / "file")})
    assert (ran.code, ran.out) == (2, "")
    error, hint = ran.err.splitlines()
    assert error == f"error: the cache folder is a file: {tmp_path / 'file'}"
    assert hint.startswith("hint: set TLKIT_CACHE")
    assert (tmp_path / "file").read_text() == "a file"


def test_a_wrong_limit_is_an_error(tlkit: Tlkit, root: Path) -> None:
    ran = tlkit("cache", env={"TLKIT_CACHE": str(root), "TLKIT_CACHE_SIZE": "lots"})
    assert ran.code == 2
    assert "TLKIT_CACHE_SIZE" in ran.err


@pytest.mark.parametrize("place", ["", "images"])
def test_a_folder_that_may_not_be_read_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(root))
    real = os.scandir

    def refused(folder: Path) -> object:
        if Path(folder) == root / place:
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", refused)
    for call in (api.contents, api.clear):
        with pytest.raises(TlkitError, match="cannot read the cache folder"):
            call()


def test_what_cannot_be_removed_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(root))
    size = on_disk(root)

    def refused(path: Path, target: Path) -> None:
        raise PermissionError(13, "in use")

    monkeypatch.setattr(Path, "rename", refused)
    cleared = api.clear()
    assert cleared.left == 1_500_000
    assert cleared.freed == size - 1_500_000


def test_debug_shows_the_traceback(tlkit: Tlkit, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    assert "Traceback" in tlkit("cache", "--debug", env={"TLKIT_CACHE": str(tmp_path / "file")}).err


def test_help_has_an_example(tlkit: Tlkit) -> None:
    assert "Example: tlkit cache" in tlkit("cache", "--help").out
