"""The command in a process of its own: start, signals, end, and what clients do to a socket."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran, Trained

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are another system's")
Tlkit = Callable[..., Ran]


def test_a_life(serving: Any, trained: Trained, photos: list[Path], tmp_path: Path) -> None:
    """Start, answer, take a replaced bundle, drain and end."""
    bundle = tmp_path / "garden.tlkit"
    shutil.copytree(trained.bundle, bundle)
    data = photos[0].read_bytes()
    with serving(cwd=tmp_path) as one:  # the newest bundle of the folder
        assert one.said["models"] == ["garden"]
        assert one.said["pid"] == one.process.pid
        assert one.said["url"].startswith("http://127.0.0.1:")
        first = one.predict(data)
        assert first.status_code == 200
        assert one.client.get("/").status_code == 200
        shutil.copytree(trained.bundle, tmp_path / "new")
        bundle.rename(tmp_path / "old")
        (tmp_path / "new").rename(bundle)
        shutil.rmtree(tmp_path / "old")
        one.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 30
        while not any('"reload"' in line for line in one.lines):
            assert one.predict(data).json() == first.json()
            assert time.monotonic() < end
        # a request whose body is still on its way when the signal comes
        with socket.create_connection(("127.0.0.1", one.port)) as late:
            late.sendall(_head(len(data)) + data[:100])
            time.sleep(0.2)
            one.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", one.port), timeout=5)
            late.sendall(data[100:])
            answer = _all(late)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == first.json()
        assert one.process.wait(30) == 0
        log = one.log()
    assert [entry["event"] for entry in log if "event" in entry] == ["reload"]
    assert {entry["status"] for entry in log if "status" in entry} == {200}


def _head(length: int, address: str = "/predict") -> bytes:
    return (
        f"POST {address} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


def _all(connection: socket.socket) -> bytes:
    connection.settimeout(30)
    chunks = []
    while chunk := connection.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def test_bad_clients_do_no_harm(serving: Any, trained: Trained, photos: list[Path], tmp_path: Path) -> None:
    data, bundle = photos[0].read_bytes(), tmp_path / "garden.tlkit"
    shutil.copytree(trained.bundle, bundle)
    with serving(bundle, "--max-upload", "1", "--timeout", "2", "--watch", cwd=tmp_path) as one:
        place = ("127.0.0.1", one.port)
        with socket.create_connection(place) as slow, socket.create_connection(place) as half:
            slow.sendall(_head(1000) + b"x")  # and then nothing
            half.sendall(_head(len(data)) + data[:500])
            half.shutdown(socket.SHUT_WR)
            with socket.create_connection(place) as much:
                much.sendall(_head(3 << 20))
                much.sendall(bytes(3 << 20))
                assert _all(much).startswith(b"HTTP/1.1 413 ")  # and not a reset connection
            with socket.create_connection(place) as expecting:
                head = _head(3 << 20).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
                expecting.sendall(head)
                assert _all(expecting).startswith(b"HTTP/1.1 413 ")
            for rubbish in (b"GET\r\n\r\n", b"\0" * 100, b"GET / HTTP/1.1\r\nA: " + b"x" * 100_000 + b"\r\n\r\n"):
                with socket.create_connection(place) as odd:
                    odd.sendall(rubbish)
                    assert _all(odd).startswith(b"HTTP/1.1 400 ")
            assert one.predict(data).status_code == 200
            assert _all(slow).startswith(b"HTTP/1.1 408 ")
            assert _all(half) == b""
        shutil.copytree(trained.bundle, tmp_path / "new")  # --watch sees a bundle that is replaced
        bundle.rename(tmp_path / "old")
        (tmp_path / "new").rename(bundle)
        end = time.monotonic() + 30
        while not any('"reload"' in line for line in one.lines):
            time.sleep(0.05)
            assert time.monotonic() < end
        assert one.ends(signal.SIGINT) == 0
        assert all("Traceback" not in line for line in one.lines)
        assert {entry["status"] for entry in one.log() if "status" in entry} <= {200, 408, 413, 499}


def test_the_token_of_the_environment_and_two_signals(
    serving: Any, trained: Trained, photos: list[Path], tmp_path: Path
) -> None:
    with serving(trained.bundle, cwd=tmp_path, env={"TLKIT_TOKEN": "a-token-of-some-length"}) as one:
        assert one.said["token"]
        assert one.predict(photos[0].read_bytes()).status_code == 401
        one.client.headers["authorization"] = "Bearer a-token-of-some-length"
        assert one.predict(photos[0].read_bytes()).status_code == 200
        with socket.create_connection(("127.0.0.1", one.port)) as late:
            late.sendall(_head(1000).replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer a-token-of-some-length\r\n\r\n"))
            time.sleep(0.2)
            one.process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                one.process.wait(0.5)  # it waits for the request
            assert one.ends(signal.SIGTERM) == 130


def test_it_starts_without_heavy_libraries(trained: Trained) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tlkit.serve.server import serve; from tlkit.serve.options import ServeOptions\n"
        "import os, signal\n"
        "def started(url, models): os.kill(os.getpid(), signal.SIGTERM)\n"
        f"assert serve([Path({str(trained.bundle)!r})], ServeOptions(port=0), started)\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_mistakes_are_one_line(tlkit: Tlkit, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases = {
            "cannot listen on 127.0.0.1": [trained.bundle, "--port", port],
            "no .tlkit bundle in": ["--port", "0"],
            "cannot listen on 192.0.2.1": [trained.bundle, "--port", "0", "--host", "192.0.2.1"],
            "there is no address": [trained.bundle, "--port", "0", "--host", "no such host"],
            "--token must be": [trained.bundle, "--token", "two words"],
            "--allow-origin takes no": [trained.bundle, "--allow-origin", "here"],
            "--port must be": [trained.bundle, "--port", "70000"],
            "--unknown-rate must be": [trained.bundle, "--port", "0", "--unknown-rate", "2"],
            "two bundles are called garden": [trained.bundle, trained.bundle, "--port", "0"],
        }
        for message, arguments in cases.items():
            ran = tlkit("serve", *arguments, cwd=tmp_path)
            assert (ran.code, ran.out) == (2, ""), ran
            assert ran.err.startswith(f"error: {message}"), ran.err
            assert len(ran.err.splitlines()) <= 2
    import importlib.util

    true = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "uvicorn" else true(name, *a))
    ran = tlkit("serve", trained.bundle)
    assert (ran.code, ran.err) == (2, 'error: tlkit serve requires uvicorn\nhint: pip install "tlkit[serve]"\n')
