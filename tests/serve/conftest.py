"""A server in the test's own process: the application with its engine, without a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import Trained

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
