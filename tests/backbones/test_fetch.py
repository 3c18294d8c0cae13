"""Weights from a server of our own: whole, broken off, wrong, refused."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tlkit.backbones import catalog
from tlkit.backbones.catalog import fetch as module
from tlkit.backbones.catalog.fetch import PARTIAL, fetch
from tlkit.errors import TlkitError
from tlkit.progress import SilentProgress

ROW = catalog.get("vgg16")
CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Server:
    """What it serves and how, and what it was asked."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.ranges = True  # whether it knows them
        self.length = True  # whether it says how long an answer is
        self.break_after: list[int] = []  # bytes after which one answer each ends
        self.failures: list[int] = []  # status codes of the first answers
        self.asked: list[str | None] = []  # the range of each request
        self.paths: list[str] = []
        self.url = ""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        self.paths.append(handler.path)
        if self.failures:
            handler.send_error(self.failures.pop(0))
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start >= len(self.content):
            handler.send_error(416)
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.break_after.pop(0)] if self.break_after else body)
        handler.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    serving = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            serving.answer(self)

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        serving.url = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setenv(catalog.MIRROR, serving.url)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        monkeypatch.setattr(module, "PAUSE", 0.001)
        digest = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
        monkeypatch.setitem(catalog.WEIGHTS, ROW.name, (catalog.WEIGHTS[ROW.name][0], digest))
        yield serving
        running.shutdown()
        thread.join()


class Watching(SilentProgress):
    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0
        self.notes: list[str] = []

    @contextmanager
    def phase(self, title: str, total: int | None) -> Iterator[Any]:
        self.total = total

        def advance(steps: int, status: str = "") -> None:
            self.done += steps

        yield advance

    def note(self, message: str) -> None:
        self.notes.append(message)


def partial() -> Path:
    file = catalog.cached_path(ROW)
    return file.with_name(file.name + PARTIAL)


def test_a_file_is_fetched_to_where_keras_looks_for_it(server: Server) -> None:
    show = Watching()
    fetched = fetch(ROW, show)
    assert fetched.file == catalog.cached_path(ROW)
    assert fetched.file.read_bytes() == CONTENT
    assert (fetched.bytes, fetched.had, fetched.verified) == (len(CONTENT), False, True)
    assert (show.total, show.done) == (3, 3)
    assert not partial().exists()
    assert server.paths == [ROW.weights_url.removeprefix(server.url)]
    again = fetch(ROW, show)
    assert again.had
    assert len(server.asked) == 1


def test_a_download_that_breaks_off_goes_on(server: Server) -> None:
    server.break_after = [1_000_000, 0, 500_000]
    show = Watching()
    assert fetch(ROW, show).file.read_bytes() == CONTENT  # type: ignore[union-attr]
    assert server.asked == [None, "bytes=1000000-", "bytes=1000000-", "bytes=1500000-"]
    assert (show.total, show.done) == (3, 3)


def test_a_later_run_goes_on_where_one_gave_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.break_after = [2_000_000, *[0] * module.ATTEMPTS]
    with pytest.raises(TlkitError, match=r"cannot fetch .*broke off") as caught:
        fetch(ROW, SilentProgress())
    assert "resume after 2 MB" in str(caught.value.hint)
    assert str(catalog.cached_path(ROW)) in str(caught.value.hint)
    assert not catalog.cached_path(ROW).exists()
    assert not catalog.is_here(ROW)
    server.break_after, server.asked = [], []
    assert fetch(ROW, SilentProgress()).file.read_bytes() == CONTENT  # type: ignore[union-attr]
    assert server.asked == ["bytes=2000000-"]


def test_a_server_without_ranges_starts_anew(server: Server) -> None:
    server.ranges, server.break_after = False, [1_000_000]
    assert fetch(ROW, SilentProgress()).file.read_bytes() == CONTENT  # type: ignore[union-attr]


@pytest.mark.parametrize("left", [b"of another file" * 1000, CONTENT + b"too much"])
def test_what_does_not_fit_is_not_gone_on_with(server: Server, left: bytes) -> None:
    partial().parent.mkdir(parents=True)
    partial().write_bytes(left)
    show = Watching()
    assert fetch(ROW, show).file.read_bytes() == CONTENT  # type: ignore[union-attr]
    assert server.asked == [f"bytes={len(left)}-", None]
    assert "starting from the beginning" in show.notes[0]


def test_a_wrong_file_is_not_kept(server: Server) -> None:
    server.content = b"<html>please log in</html>"
    with pytest.raises(TlkitError, match="its checksum is wrong"):
        fetch(ROW, SilentProgress())
    assert list(catalog.cached_path(ROW).parent.iterdir()) == []


def test_a_damaged_file_is_replaced_by_the_right_one_only(server: Server) -> None:
    file = catalog.cached_path(ROW)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"cut short")
    server.content = b"wrong too"
    with pytest.raises(TlkitError):
        fetch(ROW, SilentProgress())
    assert file.read_bytes() == b"cut short"
    server.content, show = CONTENT, Watching()
    assert not fetch(ROW, show).had
    assert file.read_bytes() == CONTENT
    assert "differs from the file that Keras publishes" in show.notes[0]


def test_a_busy_server_is_asked_again_and_a_refusal_is_told(server: Server) -> None:
    server.failures = [503, 500]
    fetch(ROW, SilentProgress())
    catalog.cached_path(ROW).unlink()
    server.failures, server.asked = [404], []
    with pytest.raises(TlkitError, match="404 Not Found"):
        fetch(ROW, SilentProgress())
    assert len(server.asked) == 1


def test_without_a_checksum_there_is_no_going_on(server: Server) -> None:
    row = catalog.get("mobilenet")
    assert not row.weights_checksum
    file = catalog.cached_path(row)
    file.parent.mkdir(parents=True)
    file.with_name(file.name + PARTIAL).write_bytes(b"from last year")
    length = (52 + len(CONTENT)).to_bytes(8, "little")
    # a superblock of version 2: sizes of addresses and lengths, flags, base, extension, end of the file, the rest
    head = b"\x89HDF\r\n\x1a\n" + bytes([2, 8, 8, 0]) + bytes(16) + length + bytes(16)
    server.content = head + CONTENT
    fetched = fetch(row, SilentProgress())
    assert not fetched.verified
    assert file.read_bytes() == server.content
    assert server.asked == [None]
    file.unlink()
    server.content = b"<html>please log in</html>"
    with pytest.raises(TlkitError, match="not the file"):
        fetch(row, SilentProgress())
    assert not file.exists()


def test_a_file_that_is_still_written_is_not_taken_for_whole(tmp_path: Path) -> None:
    file = tmp_path / "weights.h5"
    with h5py.File(file, "w") as made:
        made["kernel"] = np.zeros(1000)
    assert module.is_right(file, "")
    whole = file.read_bytes()
    for length in (0, 8, 51, 52, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert not module.is_right(file, "")


def test_a_length_is_demanded_where_nothing_else_tells_a_whole_file(server: Server) -> None:
    server.length = False
    with pytest.raises(TlkitError, match="does not say how long"):
        fetch(catalog.get("mobilenet"), SilentProgress())
    assert not catalog.cached_path(catalog.get("mobilenet")).exists()
    assert fetch(ROW, SilentProgress()).verified


def test_two_that_fetch_one_file_ask_once(server: Server) -> None:
    with ThreadPoolExecutor(2) as pool:
        had = [each.had for each in pool.map(lambda _: fetch(ROW, SilentProgress()), range(2))]
    assert sorted(had) == [False, True]
    assert len(server.asked) == 1
    assert [path.name for path in catalog.cached_path(ROW).parent.iterdir()] == [catalog.cached_path(ROW).name]


def test_no_server_names_the_file_and_its_place(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalog.MIRROR, "http://127.0.0.1:9")
    with pytest.raises(TlkitError, match=r"cannot fetch http://127.0.0.1:9/.*refused") as caught:
        fetch(ROW, SilentProgress())
    assert str(catalog.cached_path(ROW)) in str(caught.value.hint)


def test_a_place_that_cannot_be_written(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    with pytest.raises(TlkitError, match="cannot write") as caught:
        fetch(ROW, SilentProgress())
    assert "KERAS_HOME" in str(caught.value.hint)


def test_too_little_room_is_told_before(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(TlkitError, match=r"not enough space in .*: 3 MB needed, 1 MB free"):
        fetch(ROW, SilentProgress())


def test_packaged_weights_need_no_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    row = catalog.get(catalog.DEFAULT)
    assert fetch(row, SilentProgress()).had
    monkeypatch.setattr(catalog, "is_here", lambda row: False)
    with pytest.raises(TlkitError) as caught:
        fetch(row, SilentProgress())
    assert "pip install" in str(caught.value.hint)
