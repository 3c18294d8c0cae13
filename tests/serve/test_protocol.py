"""Clients that take their time to ask, or do not take their answer."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

LARGE = 64 << 20  # bytes: no buffer of the system holds them


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    import uvicorn

    from tlkit.serve.protocol import PatientProtocol

    class Impatient(PatientProtocol):
        seconds_to_ask = 0.3
        seconds_to_take = 0.3
        most_connections = 3

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = LARGE if scope["path"] == "/large" else 2
        await asyncio.sleep(0.6 if scope["path"] == "/late" else 0)
        length = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": bytes(size)})

    config = uvicorn.Config(app, port=0, http=Impatient, lifespan="off", log_config=None, timeout_keep_alive=1)
    made = uvicorn.Server(config)
    thread = threading.Thread(target=made.run)
    thread.start()
    until(lambda: made.started)
    yield made
    made.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def connected(server: Any) -> Iterator[socket.socket]:
    place = server.servers[0].sockets[0].getsockname()
    with socket.create_connection(place, timeout=20) as found:
        yield found
    until(lambda: not server.server_state.connections)


def test_a_header_that_does_not_end(connected: socket.socket) -> None:
    began = time.monotonic()
    with pytest.raises(OSError):  # noqa: PT012  (each byte comes in time, the header does not)
        while time.monotonic() < began + 20:
            connected.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() - began < 10


def test_no_request_at_all(connected: socket.socket) -> None:
    assert connected.recv(10) == b""


def test_the_second_header_does_not_end(connected: socket.socket) -> None:
    connected.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connected.recv(1000).startswith(b"HTTP/1.1 200")
    connected.sendall(b"GET / HTTP/1.1\r\n")
    while connected.recv(1000):
        pass


def test_an_answer_may_take_longer_than_a_header(connected: socket.socket) -> None:
    connected.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connected.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_an_answer_that_is_not_taken(server: Any, connected: socket.socket, more: bytes) -> None:
    connected.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n")
    until(lambda: bool(server.server_state.connections))
    until(lambda: not server.server_state.connections)  # although nobody has read or closed


def test_an_answer_that_is_taken_slowly(connected: socket.socket) -> None:
    connected.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    count = 0
    while chunk := connected.recv(1 << 20):
        count += len(chunk)
    assert count > LARGE


def test_one_connection_too_many_is_told(server: Any, connected: socket.socket) -> None:
    place = server.servers[0].sockets[0].getsockname()
    with ExitStack() as stack:
        others = [stack.enter_context(socket.create_connection(place, timeout=20)) for _ in range(3)]
        found = b""
        while chunk := others[-1].recv(1000):
            found += chunk
        assert found.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in found
        others[0].sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert others[0].recv(1000).startswith(b"HTTP/1.1 200")
