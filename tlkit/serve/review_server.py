"""The server of a review: one page, for one person on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tlkit.bounded import parse_json, why_not_json
from tlkit.errors import TlkitError
from tlkit.serve.access import Access, Gate
from tlkit.serve.answers import json_response, refused_response
from tlkit.serve.guard import Guard
from tlkit.serve.home import POLICY, content
from tlkit.serve.metrics import Metrics
from tlkit.serve.options import ServeOptions
from tlkit.serve.protocol import PatientProtocol
from tlkit.serve.refusal import BAD, LARGE, NOT_FOUND, UNPROCESSABLE, Refused
from tlkit.serve.review_page import Review
from tlkit.serve.server import address, allowed_connections, listening

MAX_BODY = 64 << 10  # bytes
KINDS = ("label", "exclude", "skip")
PAGES = {
    "/": ("tlkit.serve", "review.html", "text/html"),
    "/review.js": ("tlkit.serve", "review.js", "text/javascript"),
    "/review.css": ("tlkit.serve", "review.css", "text/css"),
    "/page.css": ("tlkit.formats", "page.css", "text/css"),
}
JPEG = "image/jpeg"


def run_review(review: Review, token: str, port: int, started: Callable[[str], None]) -> None:
    """Serve a review's page on 127.0.0.1 until it is done or a signal ends it.

    Args:
        review: What is shown.
        token: The secret that the page sends with every request.
        port: The port; 0: any free one.
        started: Called with the address, which has the token behind ``#``: browsers send that part to nobody.

    Raises:
        TlkitError: The port is taken or out of range.
    """
    options = ServeOptions(port=port, token=token).checked()
    most, backlog = allowed_connections()
    with listening(options.host, options.port) as listener:
        app = make_app(review, options)
        config = uvicorn.Config(
            app,
            http=PatientProtocol.limited(most),
            backlog=backlog,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        server = _Server(config, lambda: started(f"{address(options.host, listener)}/#{token}"))
        app.state.end = server.end
        server.run([listener])


def make_app(review: Review, options: ServeOptions) -> Starlette:
    """Return the application.

    Args:
        review: What is shown.
        options: The address and the token.
    """
    routes = [
        *(Route(path, _page) for path in PAGES),
        Route("/items", _items),
        Route("/image", _image),
        Route("/decide", _decide, methods=["POST"]),
        Route("/undo", _undo, methods=["POST"]),
        Route("/apply", _apply, methods=["POST"]),
        Route("/done", _done, methods=["POST"]),
    ]
    layers = [
        Middleware(Guard, metrics=Metrics(lambda: 0), endpoints={}, log=lambda _: None),
        Middleware(Gate, access=Access(options), public=frozenset(PAGES)),
    ]
    app = Starlette(routes=routes, middleware=layers, exception_handlers={Refused: _refused, TlkitError: _failed})
    app.state.review, app.state.end = review, lambda: None
    return app


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it has begun and ends by a signal or a request."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: Any = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._started()

    def end(self) -> None:
        """End once the answer is sent."""
        asyncio.get_running_loop().call_later(0.2, partial(setattr, self, "should_exit", True))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End by Ctrl-C or SIGTERM; decisions are on the disk already."""
        before: dict[int, Any] = {}
        with contextlib.suppress(ValueError):  # not in the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                before[int(number)] = signal.signal(number, lambda *_: setattr(self, "should_exit", True))
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


async def _page(request: Request) -> Response:
    package, name, kind = PAGES[request.url.path]
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response(content(package, name), 200, headers, kind)


async def _items(request: Request) -> Response:
    return json_response(await _run(_review(request).to_json))


async def _image(request: Request) -> Response:
    file, label = request.query_params.get("file", ""), request.query_params.get("label")
    data = await _run(partial(_review(request).picture, file, label))
    if data is None:
        raise Refused(NOT_FOUND, "the image cannot be shown")
    return Response(data, media_type=JPEG)


async def _decide(request: Request) -> Response:
    found = await _body(request)
    file, what, label = (found.get(name, "") for name in ("file", "what", "label"))
    if not (isinstance(file, str) and isinstance(label, str) and what in KINDS):
        raise Refused(UNPROCESSABLE, "the body must have file, what and label")
    await _run(partial(_review(request).decide, file, what, label))
    return json_response({"file": file})


async def _undo(request: Request) -> Response:
    file = await _run(_review(request).undo)
    return json_response({"file": file})


async def _apply(request: Request) -> Response:
    applied = await _run(_review(request).apply)
    return json_response(applied.to_json())


async def _done(request: Request) -> Response:
    request.app.state.end()
    return json_response({})


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise Refused(LARGE, f"the request has more than {MAX_BODY} bytes")
    try:
        found = parse_json(data)
    except ValueError as error:
        raise Refused(BAD, f"the body cannot be read: {why_not_json(error)}") from None
    if not isinstance(found, dict):
        raise Refused(UNPROCESSABLE, "the body must be a JSON object")
    return found


def _review(request: Request) -> Review:
    found: Review = request.app.state.review
    return found


async def _run(work: Callable[[], Any]) -> Any:
    return await anyio.to_thread.run_sync(work)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refused_response(error, request.scope["tlkit.request_id"])


def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, TlkitError)
    return refused_response(Refused(UNPROCESSABLE, error.message, error.hint), request.scope["tlkit.request_id"])
