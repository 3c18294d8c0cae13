"""A server in the test's own process: the application with its engine, without a socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND, Trained

from tlkit.serve.options import ServeOptions

pytest.importorskip("starlette", reason="requires the extra 'serve'")
pytest.importorskip("httpx2", reason="requires httpx2")
pytest.importorskip("uvicorn", reason="requires the extra 'serve'")
pytest.importorskip("python_multipart", reason="requires the extra 'serve'")
pytest.importorskip("prometheus_client", reason="requires the extra 'serve'")

URL = "http://127.0.0.1:8000"


@dataclass
class Served:
    """A server: its client, and what it logged."""

    client: Any
    models: Any
    app: Any
    log: list[dict[str, Any]] = field(default_factory=list)

    def post(self, address: str, data: bytes, kind: str = "image/jpeg", **headers: str) -> Any:
        given = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.post(address, content=data, headers=given)


Start = Callable[..., Served]


@pytest.fixture(scope="module")
def start(trained: Trained) -> Iterator[Start]:
    """``start(token="...")``: a server of the sample's bundle with these options."""
    from starlette.testclient import TestClient

    from tlkit.serve.app import make_app
    from tlkit.serve.models import Models

    shared = Models([trained.bundle], 2)
    with ExitStack() as stack:

        def make(models: Any = None, peer: tuple[str, int] = ("127.0.0.1", 50_000), **options: Any) -> Served:
            log: list[dict[str, Any]] = []
            chosen = ServeOptions(**{"workers": 2, **options}).checked()
            app = make_app(models or shared, chosen, log.append)
            state = app.state.served
            state.engine.start()
            stack.callback(state.engine.stop)
            client = TestClient(app, base_url=URL, client=peer)
            return Served(client, models or shared, app, log)

        yield make


@pytest.fixture(scope="module")
def served(start: Start) -> Served:
    return start()


@pytest.fixture(scope="session")
def photos(unseen: Path) -> list[Path]:
    return sorted(file for file in unseen.iterdir() if file.suffix in (".png", ".jpg"))


class Process:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], said: dict[str, Any]) -> None:
        import httpx2

        self.process, self.said = process, said
        self.client = httpx2.Client(base_url=said["url"], timeout=30)
        self.lines: list[str] = []
        assert process.stderr is not None
        self._reader = threading.Thread(target=self.lines.extend, args=(process.stderr,), daemon=True)
        self._reader.start()

    @property
    def port(self) -> int:
        return int(self.said["url"].rpartition(":")[2])

    def predict(self, data: bytes) -> Any:
        return self.client.post("/predict", content=data, headers={"content-type": "image/png"})

    def ends(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def log(self) -> list[dict[str, Any]]:
        self._reader.join(10)
        return [json.loads(line) for line in self.lines]


@contextmanager
def _serving(*arguments: object, cwd: Path, env: dict[str, str] | None = None) -> Iterator[Process]:
    process = subprocess.Popen(
        [str(COMMAND), "serve", *map(str, arguments), "--port", "0", "--json"],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                assert process.stderr is not None
                raise AssertionError(process.stderr.read())
            running = Process(process, json.loads(line))
            yield running
            running.client.close()
        finally:
            process.kill()


@pytest.fixture(scope="session")
def serving(cache: Path) -> Callable[..., Any]:
    """``with serving(bundle, ..., cwd=folder) as process``: the installed command, in a process of its own."""
    return _serving
